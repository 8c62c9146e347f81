"""Replacement of attributes of modules or classes, temporarily or permanently."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

Entry: TypeAlias = tuple[Any, str, Any]
"""The module or class, the name of the attribute, and its new value."""


def put(*entries: Entry) -> list[Any]:
    """Set the attributes for the rest of the process, and return their previous values."""
    before = [getattr(owner, name) for owner, name, _ in entries]
    for owner, name, value in entries:
        setattr(owner, name, value)
    return before


@contextmanager
def standing_in(*entries: Entry) -> Generator[None]:
    """Set the attributes and restore their previous values on exit, even after an error.

    Not for concurrent use: if two threads replace the same attribute, one of the values may remain.
    """
    before = put(*entries)
    try:
        yield
    finally:
        put(*((owner, name, value) for (owner, name, _), value in reversed(list(zip(entries, before, strict=True)))))
