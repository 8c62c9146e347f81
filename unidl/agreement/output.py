"""The files of a verification: certificate.json and certificate.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from unidl.agreement.certificate import Certificate
from unidl.agreement.report import markdown
from unidl.reports import write_bytes

JSON, MARKDOWN = "certificate.json", "certificate.md"


def to_json(certificates: Sequence[Certificate]) -> str:
    """Return the certificates as one JSON array."""
    return json.dumps([one.values() for one in certificates], indent=1, allow_nan=False)


def write(folder: Path, certificates: Sequence[Certificate]) -> list[Path]:
    """Write both files atomically, and return their paths."""
    contents = {JSON: to_json(certificates) + "\n", MARKDOWN: markdown(certificates)}
    for name, content in contents.items():
        write_bytes(folder / name, content.encode())
    return [folder / name for name in contents]
