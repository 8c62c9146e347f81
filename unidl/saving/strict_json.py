"""Strict parsing of untrusted JSON: limited in size, depth and form to what unidl writes."""

from __future__ import annotations

import json
import math
import re
from typing import Any

LONGEST = 32 * 2**20
"""Maximum bytes. The JSON of a vocabulary of 500 000 words has 15 MiB."""
DEEPEST = 100
"""Maximum nesting of lists and objects. Keras's config of a model in a model in a model has about 30 levels."""
MOST_VALUES = 2_000_000
"""A list of a million empty lists takes 3 MB in a file and 64 MB in memory."""

# An unterminated string matches to the end of the text, which keeps matching linear in the length of the text.
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]|,', re.DOTALL)


def read_json(content: bytes, longest: int = LONGEST, *, infinite: bool = False) -> Any:
    """Return the value of a JSON text in UTF-8.

    infinite: whether NaN and Infinity, as Python writes them, are allowed. Raises `ValueError` if it is longer than
    `longest` bytes, too deep or too large, repeats a key, or holds a number that overflows a float.
    """
    if len(content) > longest:
        raise ValueError(f"{len(content):,} bytes of JSON; at most {longest:,} are allowed")
    text = content.decode("utf-8")
    _refuse_deep_or_large(text)
    constant = float if infinite else _no_constant
    return json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=constant)


def _refuse_deep_or_large(text: str) -> None:
    depth, values = 0, 1
    for mark in _MARKS.finditer(text):
        sign = text[mark.start()]
        if sign in "[{":
            depth += 1
            values += 1
        elif sign in "]}":
            depth -= 1
        elif sign == ",":
            values += 1
        if depth > DEEPEST:
            raise ValueError(f"lists or objects are nested more than {DEEPEST} deep")
        if values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; reject repeated keys, which parsers interpret differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} is repeated")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")
