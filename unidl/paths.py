"""Paths entered by users."""

from __future__ import annotations

import os
from pathlib import Path


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~ expanded: shells do not expand it in --out=~/runs, and neither does Python. The
    name of an unknown user is left unchanged."""
    return Path(os.path.expanduser(path))
