"""One value in the place of another: an attribute of a module or a class that is replaced for a while, or for good."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

Entry: TypeAlias = tuple[Any, str, Any]
"""The module or class, the name of its attribute, and what stands there from now on."""


def put(*entries: Entry) -> list[Any]:
    """Let the values stand there for the rest of the process, and return what stood there before."""
    before = [getattr(owner, name) for owner, name, _ in entries]
    for owner, name, value in entries:
        setattr(owner, name, value)
    return before


@contextmanager
def standing_in(*entries: Entry) -> Generator[None]:
    """Inside it the values stand there; what stood there before comes back at the end, whatever happens.

    One at a time may replace an attribute: two threads that did would leave one of the values behind.
    """
    before = put(*entries)
    try:
        yield
    finally:
        put(*((owner, name, value) for (owner, name, _), value in reversed(list(zip(entries, before, strict=True)))))
