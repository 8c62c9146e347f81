"""Versions of installed packages, determined without importing them."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version_of(module: str, distributions: tuple[str, ...]) -> str:
    """Return the version of an installed module without importing it: that of the first listed distribution,
    else of any that provides the module, as tf-nightly provides tensorflow; "unknown" if none does."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    others = metadata.packages_distributions().get(module)  # reads the file list of every distribution
    return metadata.version(others[0]) if others else "unknown"
