"""How large a model may become while it is built, counted before any of it takes memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from unidl.errors import ModelError
from unidl.models.initial_weights import building

LARGEST_MODEL = 2**31
"""Parameters, 8 GiB in float32. More is a slip of the keyboard, or a damaged file."""
UNSTORED = 2**14
"""Numbers that variables may hold beside the weights of a file: the states of random generators."""


class TooLargeError(ModelError):
    """A model would have more parameters than it may. parameters: how many it would have."""

    def __init__(self, message: str, parameters: int) -> None:
        super().__init__(message)
        self.parameters = parameters


_most: ContextVar[int] = ContextVar("most", default=LARGEST_MODEL)
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def at_most(parameters: int, *, copies: int = 1) -> Iterator[None]:
    """Inside it, in this thread, no model of more than so many parameters is built.

    A variable that would be one too many raises `ModelError` before it has a value, and a builder refuses such sizes
    before it makes a layer. copies: how often a model may make each of its weights on the way to its last form.
    """
    most = _most.set(min(parameters + UNSTORED, LARGEST_MODEL))
    left = _left.set([copies * parameters + UNSTORED])
    try:
        with building, _counted_variables():
            yield
    finally:
        _left.reset(left)
        _most.reset(most)


def refuse_too_large(parameters: int, what: str) -> None:
    """Raise `ModelError` if a model of so many parameters may not be built here. what: the call, for the error."""
    most = _most.get()
    if parameters <= most:
        return
    if most < LARGEST_MODEL:
        message = f"{what} with these sizes has {parameters:,} parameters, and its file {most:,} numbers."
        raise TooLargeError(message, parameters)
    raise TooLargeError(
        f"Cannot use {what} with these sizes: the model would have {parameters:,} parameters ({parameters >> 28:,} GiB "
        f"in float32), and {LARGEST_MODEL:,} are allowed.\nAsk for smaller layers or a smaller input.",
        parameters,
    )


@contextmanager
def _counted_variables() -> Iterator[None]:
    """Inside it every variable of Keras's, of whichever layer, is counted when it is made."""
    import keras

    variable: Any = keras.Variable
    make = variable.__init__
    if getattr(make, "counts", False):  # inside another one
        yield
        return
    variable.__init__ = _counting(make)
    try:
        yield
    finally:
        variable.__init__ = make


def _counting(make: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, initializer: Any, shape: Any = None, *rest: Any, **options: Any) -> None:
        left = _left.get()
        if left is not None:  # None in other threads
            left[0] -= _size(initializer, shape)
            if left[0] < 0:
                raise ModelError("the model that it describes has more weights than its file holds")
        make(self, initializer, shape, *rest, **options)

    init.counts = True  # pyright: ignore[reportFunctionMemberAccess]
    return init


def _size(initializer: Any, shape: Any) -> int:
    if shape is None:
        shape = getattr(initializer, "shape", None)
    if shape is None:
        shape = np.shape(initializer)
    return math.prod((shape,) if isinstance(shape, int) else map(int, shape))
