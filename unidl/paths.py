"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~ replaced by a home directory: shells leave it alone in --out=~/runs, and so does Python. The
    name of a user who is not there stays as it is."""
    return Path(os.path.expanduser(path))
