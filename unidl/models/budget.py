"""Limits on the size of a model while it is built, enforced before memory is allocated."""

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
"""Maximum parameters, 8 GiB in float32. More is a typing error, or a damaged file."""
UNSTORED = 2**14
"""Values that variables may hold in addition to the weights of a file: states of random generators."""


class TooLargeError(ModelError):
    """Raised if a model would have too many parameters. parameters: their number."""

    def __init__(self, message: str, parameters: int) -> None:
        super().__init__(message)
        self.parameters = parameters


_most: ContextVar[int] = ContextVar("most", default=LARGEST_MODEL)
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def at_most(parameters: int, *, copies: int = 1) -> Iterator[None]:
    """Limit the number of parameters of models built in this thread.

    A variable that exceeds the limit raises `ModelError` before it is allocated, and a builder refuses such sizes
    before it creates a layer. copies: how many times building a model may create each weight.
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
    """Raise `ModelError` if a model with this many parameters exceeds the limit. what: the call, for the error."""
    most = _most.get()
    if parameters <= most:
        return
    if most < LARGEST_MODEL:
        message = f"{what} with these sizes has {parameters:,} parameters, but its file only {most:,} values."
        raise TooLargeError(message, parameters)
    raise TooLargeError(
        f"Cannot use {what} with these sizes: the model would have {parameters:,} parameters ({parameters >> 28:,} GiB "
        f"in float32), but at most {LARGEST_MODEL:,} are allowed.\nUse smaller layers or a smaller input.",
        parameters,
    )


@contextmanager
def _counted_variables() -> Iterator[None]:
    """Count every Keras variable of any layer when it is created."""
    import keras

    variable: Any = keras.Variable
    make = variable.__init__
    if getattr(make, "counts", False):  # already active
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
                raise ModelError("the model it describes has more weights than its file contains")
        make(self, initializer, shape, *rest, **options)

    init.counts = True  # pyright: ignore[reportFunctionMemberAccess]
    return init


def _size(initializer: Any, shape: Any) -> int:
    if shape is None:
        shape = getattr(initializer, "shape", None)
    if shape is None:
        shape = np.shape(initializer)
    return math.prod((shape,) if isinstance(shape, int) else map(int, shape))
