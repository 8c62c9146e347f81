"""Lookup of private functions of Keras by name, so that a missing one affects nothing else.

The names themselves are in the modules `keras_internals` of the core and of each adapter.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, eq=False)
class Place:
    """The location of a Keras function that a kernel replaces. owner: the module or class that has it, None
    if it does not exist in this Keras; original: the function at the time of the lookup."""

    name: str
    owner: Any
    attribute: str
    original: Any


@functools.cache
def module(*names: str) -> Any:
    """Return the first of these modules that exists in this Keras, or None."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def place(attribute: str, *owners: str) -> Place:
    """Look up an attribute in the first owner that has it: a module, such as "keras.src.backend", or a class, such as
    "keras.layers:LSTM". Several are possible, since Keras 3.16 moves the functions of a backend to other modules."""
    for path in owners:
        name, _, inside = path.partition(":")
        owner = module(name)
        owner = getattr(owner, inside, None) if inside else owner
        if hasattr(owner, attribute):
            return Place(f"{path.replace(':', '.')}.{attribute}", owner, attribute, getattr(owner, attribute))
    return Place(f"{owners[0].replace(':', '.')}.{attribute}", None, attribute, None)
