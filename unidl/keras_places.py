"""Where Keras keeps what it does not promise to keep: looked up by name, so that what is missing breaks nothing else.

The names themselves are in the modules called `keras_internals`, of the core and of each adapter.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, eq=False)
class Place:
    """Where Keras keeps one of its functions, for a kernel to stand in. owner: the module or class that has it, None
    where this Keras has no such thing; original: the function as it was when this was looked up."""

    name: str
    owner: Any
    attribute: str
    original: Any


@functools.cache
def module(*names: str) -> Any:
    """Return the first of these modules that this Keras has; None if it has none of them."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def place(attribute: str, *owners: str) -> Place:
    """Look up an attribute in the first owner that has it: a module, as "keras.src.backend", or a class in one, as
    "keras.layers:LSTM". Several, since Keras 3.16 moves the functions of a backend to other modules."""
    for path in owners:
        name, _, inside = path.partition(":")
        owner = module(name)
        owner = getattr(owner, inside, None) if inside else owner
        if hasattr(owner, attribute):
            return Place(f"{path.replace(':', '.')}.{attribute}", owner, attribute, getattr(owner, attribute))
    return Place(f"{owners[0].replace(':', '.')}.{attribute}", None, attribute, None)
