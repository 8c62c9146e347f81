"""Short representations of user input for error messages, even if it has a million numbers."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

LONGEST = 200
"""Maximum characters of a value in a message."""
MOST_NAMED = 6
"""Maximum members of a list in a message."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = LONGEST // 2


def shown(value: Any) -> str:
    """Return the repr of `value` on one line, shortened if long; an array as its shape and dtype."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array of shape {shape} and dtype {getattr(value, 'dtype', 'unknown')}"
    return shortened(_repr.repr(value))


def shortened(text: Any) -> str:
    """Return a text on one line, truncated if it is long."""
    line = " ".join(str(text)[: 10 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."


def listed(names: Iterable[Any], count: int | None = None, most: int = MOST_NAMED) -> str:
    """Return comma-separated names; of many only the first few and the number of the rest.

    count: the total number, if `names` is incomplete.
    """
    if count is None:
        names = list(names)
        count = len(names)
    named = [shortened(name) for name in islice(names, count if count <= most else most - 1)]
    rest = f" and {count - len(named):,} more" if count > len(named) else ""
    return ", ".join(named) + rest
