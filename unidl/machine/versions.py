"""Versions of what is installed, found without importing it."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version_of(module: str, distributions: tuple[str, ...]) -> str:
    """Return the version of a module that is installed, without importing it: that of the first of the distributions,
    else of whichever brings the module, as tf-nightly brings tensorflow; "unknown" if none says that it does."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    others = metadata.packages_distributions().get(module)  # reads the list of files of every distribution
    return metadata.version(others[0]) if others else "unknown"
