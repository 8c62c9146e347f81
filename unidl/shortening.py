"""What people gave, in few words: an error names it and never prints it whole, were it a million numbers."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

LONGEST = 200
"""Characters of a value in a message."""
MOST_NAMED = 6
"""Members of a list in a message."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = LONGEST // 2


def shown(value: Any) -> str:
    """Return `value` as Python writes it, on one line; a long one shortened, an array by its shape and type."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array of the shape {shape} and the type {getattr(value, 'dtype', 'unknown')}"
    return shortened(_repr.repr(value))


def shortened(text: Any) -> str:
    """Return a text on one line, with the end left out if it is long."""
    line = " ".join(str(text)[: 10 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."


def listed(names: Iterable[Any], count: int | None = None, most: int = MOST_NAMED) -> str:
    """Return names with commas between them; of many the first few and how many more there are.

    count: how many there are, where `names` does not know.
    """
    if count is None:
        names = list(names)
        count = len(names)
    named = [shortened(name) for name in islice(names, count if count <= most else most - 1)]
    rest = f" and {count - len(named):,} more" if count > len(named) else ""
    return ", ".join(named) + rest
