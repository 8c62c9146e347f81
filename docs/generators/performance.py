"""The tables of measured speed, from the files of measurements in `benchmarks/`."""

from __future__ import annotations

import re
from pathlib import Path

from unidl.compare.markdown import markdown
from unidl.compare.results import read

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = ("cpu-2-cores", "cpu-2-cores-batches", "cpu-2-cores-resnet")


def pages() -> dict[str, str]:
    """Return the report of each file of measurements, as files to include below a heading of the second level."""
    return {f"measured-{name}.txt": _below(markdown(read(BENCHMARKS / f"{name}.json"), None)) for name in FILES}


def _below(report: str) -> str:
    """A report without its title, its headings one level deeper."""
    body = re.sub(r"\A# .*\n", "", report)
    return re.sub(r"^(#+) ", r"#\1 ", body, flags=re.MULTILINE)
