"""Functions shared by the kernels of all adapters: where kernels apply, and how they pass on what they computed.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.keras_internals import MOMENTS, set_tensor_attribute, tensor_attribute

LOOKUP = "_unidl_lookup"
"""Attribute of tensors that are the result of an embedding lookup."""


def recurs_plainly(mask: Any, activation: Any, recurrent_activation: Any, unroll: bool) -> bool:
    """Return whether an LSTM or a GRU uses Keras's default activations and no mask: the case for which the frameworks
    have kernels."""
    return (
        mask is None
        and not unroll
        and activation is keras.activations.tanh
        and recurrent_activation is keras.activations.sigmoid
    )


def normalizes_plainly(layer: Any, inputs: Any, training: Any, mask: Any) -> bool:
    """Return whether a BatchNormalization is training, with scale and offset, over the last axis of float32 tensors:
    the case for which the frameworks have kernels."""
    return bool(
        mask is None
        and training
        and layer.trainable
        and not layer.renorm
        and not layer.synchronized
        and MOMENTS not in vars(layer)
        and layer.scale
        and layer.center
        and layer.compute_dtype == keras.backend.standardize_dtype(inputs.dtype) == "float32"
        and layer.axis in (-1, len(inputs.shape) - 1)
    )


NAMES_A_ROW = 2
"""Average number of times a batch must use each row of a table for a product with the table to pay off. The rows of the
product are wider than those of the table, and looking them up and summing their gradients also takes time."""

_noticing = ContextVar("_noticing", default=True)


@contextmanager
def noticing(wanted: bool) -> Generator[None]:
    """Set whether `attach` has an effect. Disable it in code that needs the gradient of a layer's output: if the
    next layer uses the inputs of that layer instead, the output receives no gradient."""
    token = _noticing.set(wanted)
    try:
        yield
    finally:
        _noticing.reset(token)


def attach(tensor: Any, attribute: str, value: Any) -> None:
    """Attach to a layer's output how it was computed, for the next layer."""
    if _noticing.get():
        set_tensor_attribute(tensor, attribute, value)


def noticed(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap `Embedding.call` so that `looked_up` recognizes its results.

    A product with looked-up rows equals looking up rows of the product with the table: the same
    values and gradients with fewer operations, if a batch uses each row of the table several times.
    """

    @functools.wraps(call)
    def embedding_call(self: Any, inputs: Any) -> Any:
        rows = call(self, inputs)
        plain = not self.lora_enabled and self.quantization_mode is None
        if plain and isinstance(self.embeddings, keras.Variable) and self.compute_dtype == self.variable_dtype:
            # The current value of the table: the product may be computed in another Keras scope.
            attach(rows, LOOKUP, (self.embeddings.value, inputs, writes(rows), writes(inputs)))
        return rows

    return embedding_call


def looked_up(rows: Any) -> tuple[Any, Any] | None:
    """Return the table (vocabulary, features) and the row numbers (batch, time) from which `rows` (batch, time,
    features) were looked up; None if they were not, or if a product with the table saves nothing."""
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
    """Return whether PyTorch propagates gradients to a tensor; they may have been detached."""
    return getattr(tensor, "requires_grad", None)


def writes(tensor: Any) -> int | None:
    """Return the number of in-place writes to a tensor in PyTorch; None if it is not counted."""
    try:
        return getattr(tensor, "_version", 0)
    except RuntimeError:  # for a tensor created in inference mode
        return None
