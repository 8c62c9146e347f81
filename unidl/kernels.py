"""What the kernels of all adapters need: to know where they suit, and to tell one another what they have computed.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.keras_internals import set_tensor_attribute, tensor_attribute

LOOKUP = "_unidl_lookup"
"""What a tensor that was looked up says of that."""


def recurs_plainly(mask: Any, activation: Any, recurrent_activation: Any, unroll: bool) -> bool:
    """Whether an LSTM or a GRU computes as Keras makes it if nobody says otherwise: what the frameworks have kernels
    for."""
    return (
        mask is None
        and not unroll
        and activation is keras.activations.tanh
        and recurrent_activation is keras.activations.sigmoid
    )


def normalizes_plainly(layer: Any, inputs: Any, training: Any, mask: Any) -> bool:
    """Whether a BatchNormalization is in training, with scale and offset, over the last axis of tensors of float32:
    what the frameworks have kernels for."""
    return bool(
        mask is None
        and training
        and layer.trainable
        and not layer.renorm
        and not layer.synchronized
        and layer.scale
        and layer.center
        and layer.compute_dtype == keras.backend.standardize_dtype(inputs.dtype) == "float32"
        and layer.axis in (-1, len(inputs.shape) - 1)
    )


NAMES_A_ROW = 2
"""How often a batch must name a row of a table, on average, for a product with the table to pay. The rows of the
product are wider than those of the table, and to look them up, and to add up their gradients, takes its time too."""

_noticing = ContextVar("_noticing", default=True)


@contextmanager
def noticing(wanted: bool) -> Generator[None]:
    """Whether `notice` does anything inside it. Not for code that asks for the gradient of what a layer gives: if the
    next layer reads what is behind that, none goes there."""
    token = _noticing.set(wanted)
    try:
        yield
    finally:
        _noticing.reset(token)


def notice(tensor: Any, attribute: str, value: Any) -> None:
    """Write on what a layer gives how it was computed, for the layer that reads it."""
    if _noticing.get():
        set_tensor_attribute(tensor, attribute, value)


def noticed(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`Embedding.call`, such that `looked_up` knows what it returns.

    What multiplies rows that were looked up may as well multiply the table and look up rows of the product: the same
    numbers from fewer operations, where a batch names each row of the table several times; and so do the gradients.
    """

    @functools.wraps(call)
    def embedding_call(self: Any, inputs: Any) -> Any:
        rows = call(self, inputs)
        plain = not self.lora_enabled and self.quantization_mode is None
        if plain and isinstance(self.embeddings, keras.Variable) and self.compute_dtype == self.variable_dtype:
            # The table as it is now: whoever multiplies it may be in another scope of Keras's.
            notice(rows, LOOKUP, (self.embeddings.value, inputs, writes(rows), writes(inputs)))
        return rows

    return embedding_call


def looked_up(rows: Any) -> tuple[Any, Any] | None:
    """The table (vocabulary, features) and the row numbers (batch, time) that `rows` (batch, time, features) were
    looked up with; None if they were not, or if a product with the table saves nothing."""
    lookup = tensor_attribute(rows, LOOKUP)
    if lookup is None:
        return None
    table, tokens, *before = lookup
    if None in before or before != [writes(rows), writes(tokens)]:
        return None
    if _learns(rows) != _learns(table) or getattr(rows, "_backward_hooks", None):
        return None
    if keras.backend.standardize_dtype(tokens.dtype) not in ("int32", "int64"):
        return None
    if len(tokens.shape) != 2 or None in tuple(tokens.shape):
        return None
    return (table, tokens) if math.prod(tokens.shape) >= NAMES_A_ROW * table.shape[0] else None


def _learns(tensor: Any) -> bool | None:
    """Whether PyTorch carries gradients back to a tensor; somebody may have cut them off."""
    return getattr(tensor, "requires_grad", None)


def writes(tensor: Any) -> int | None:
    """How often somebody has written to a tensor, as PyTorch lets people do; None where it does not count."""
    try:
        return getattr(tensor, "_version", 0)
    except RuntimeError:  # of a tensor made in inference mode
        return None
