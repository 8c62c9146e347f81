"""The result of a verification, and the environment it was obtained in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from unidl.agreement.causes import cause
from unidl.agreement.verdicts import Difference, Fault, Layer, Verdict, first_fault, worst

FORMAT = 1


@dataclass(frozen=True)
class Setting:
    """One way to run a model. implementation: "unidl", its loop and kernels, or "keras"."""

    backend: str
    device: str
    precision: str
    implementation: str

    def __str__(self) -> str:
        return f"{self.backend}, {self.device}, {self.precision}, {self.implementation}"


@dataclass(frozen=True)
class Trial(Setting):
    """The comparison of a setting with the oracle. failure: why nothing was computed; None if it was."""

    differences: tuple[Difference, ...] = ()
    failure: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def agrees(self) -> bool:
        """Whether rounding in this precision explains all differences."""
        return self.failure is None and worst(self.differences) != "disagrees"

    def verdict(self) -> Verdict | str:
        """Return the overall verdict."""
        return "failed" if self.failure is not None else worst(self.differences)


@dataclass(frozen=True)
class Check:
    """Comparison of another backend in float64 with the oracle: if they differ by more than a tenth of the float32
    bound, the oracle cannot be used to judge float32."""

    backend: str
    differences: tuple[Difference, ...] = ()
    failure: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether it confirms the oracle."""
        return self.failure is None and worst(self.differences) != "disagrees"


@dataclass(frozen=True)
class Certificate:
    """The model, the oracle, and every trial."""

    subject: str
    created: str
    version: str
    environment: Mapping[str, Any]
    model: str
    parameters: int
    loss: str
    rows: int
    steps: int
    seed: int
    oracle: str
    layers: tuple[Layer, ...]
    silenced: tuple[str, ...]
    checks: tuple[Check, ...]
    trials: tuple[Trial, ...]

    @property
    def agrees(self) -> bool:
        """Whether every trial and, if there is one, another backend in float64 agree with the oracle."""
        confirmed = not self.checks or any(check.agrees for check in self.checks)
        return confirmed and bool(self.trials) and all(trial.agrees for trial in self.trials)

    def fault(self, trial: Trial | Check) -> Fault | None:
        """Return where a trial first exceeds its bound."""
        return first_fault(trial.differences, self.layers)

    def cause(self, trial: Trial) -> tuple[str, str] | None:
        """Return the likely cause and a remedy."""
        fault = self.fault(trial)
        return fault and cause(fault, trial.backend, trial.implementation, trial.device.partition(":")[0])

    def values(self) -> dict[str, Any]:
        """Return the certificate as JSON values, including the verdicts."""
        found = asdict(self) | {"format": FORMAT, "agrees": self.agrees}
        found["checks"] = [self._run(check) for check in self.checks]
        found["trials"] = [
            self._run(trial) | {"verdict": trial.verdict(), "cause": self.cause(trial)} for trial in self.trials
        ]
        return found

    def _run(self, one: Trial | Check) -> dict[str, Any]:
        fault = self.fault(one)
        return asdict(one) | {
            "agrees": one.agrees,
            "first_fault": None if fault is None else {"place": fault.place, **_difference(fault.difference)},
            "differences": [_difference(difference) for difference in one.differences],
        }


def _difference(one: Difference) -> dict[str, Any]:
    """Return an error as a JSON value; None for NaN or infinity: a value is NaN, missing or has a different shape."""
    return asdict(one) | {"error": one.error if math.isfinite(one.error) else None, "verdict": one.verdict}
