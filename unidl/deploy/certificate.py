"""The certificate of an exported file: what it was compared with, on which rows, and the result."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unidl.deploy.judging import Comparison
from unidl.deploy.measuring import Measured
from unidl.deploy.precisions import FLOAT32
from unidl.tables import Table

CERTIFICATE = "certificate.json"
FORMAT = 1


@dataclass(frozen=True)
class ExportCertificate:
    """Whether an exported file computes what its model computes in float64.

    oracle: the framework that computed in float64. rows: the data they come from. runtime: versions of what ran the
    file. frameworks: those that were loaded in the process that ran it. sizes: bytes of each file. fault: why it is
    wrong whatever it computes, such as other labels; None if nothing is. failure: why nothing was computed.
    measured: of a file in fewer bits, beside float32.
    """

    subject: str
    form: str
    precision: str
    created: str
    version: str
    environment: Mapping[str, Any]
    oracle: str
    rows: str
    exported_by: Mapping[str, str]
    runtime: Mapping[str, str]
    frameworks: tuple[str, ...]
    sizes: Mapping[str, int]
    comparisons: tuple[Comparison, ...]
    fault: str | None = None
    failure: str | None = None
    measured: Measured | None = None

    @property
    def agrees(self) -> bool:
        """Whether it computes the same within rounding, and says the same of itself."""
        return self.why_not() is None

    def why_not(self) -> str | None:
        """Return the first thing that is wrong; None if it agrees."""
        if self.failure is not None:
            return f"its runtime failed: {self.failure}"
        if self.fault is not None:
            return self.fault
        if not self.comparisons:
            return "nothing was compared"
        lost = None if self.measured is None else self.measured.why_not()
        if lost is not None:
            return lost
        ranked = sorted(self.comparisons, key=lambda one: one.verdict == "undecided")
        return next((why for why in (one.why_not() for one in ranked) if why is not None), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        comparisons = [
            asdict(one) | {"error": _finite(one.error), "spread": _finite(one.spread), "verdict": one.verdict}
            for one in self.comparisons
        ]
        return asdict(self) | {
            "format": FORMAT,
            "agrees": self.agrees,
            "why_not": self.why_not(),
            "comparisons": comparisons,
        }

    def content(self) -> bytes:
        """Return the content of certificate.json."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False).encode()

    def table(self) -> Table:
        """Return a row for each comparison."""
        rows = [
            (
                one.output,
                str(one.batch),
                "" if one.length is None else str(one.length),
                str(one.rows),
                f"{one.error:.2g}",
                f"{one.bound:.2g}",
                f"{one.spread:.2g}",
                "" if one.same_class is None else f"{one.same_class:.1%}",
                one.verdict,
            )
            for one in self.comparisons
        ]
        bad = tuple(one.verdict != "agrees" for one in self.comparisons)
        headings = ("output", "batch", "length", "rows", "error", "bound", "spread", "same class", "verdict")
        return Table(headings, tuple(rows), bad, names=1)

    def summary(self) -> str:
        """Return it in one line."""
        size = sum(self.sizes.values())
        by = ", ".join(f"{name} {version}" for name, version in self.runtime.items())
        verdict = "agrees with" if self.agrees else "does not agree with"
        form = self.form if self.precision == FLOAT32 else f"{self.form} in {self.precision}"
        said = f"{self.subject} as {form}, {size / 1000:,.0f} kB, run by {by}: {verdict} {self.oracle} in float64"
        return said if self.measured is None else f"{said}; {self.measured.summary()}"


def _finite(value: float) -> float | None:
    """Return a number as a JSON value; None for NaN or infinity."""
    return value if math.isfinite(value) else None
