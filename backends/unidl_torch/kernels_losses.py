"""Softmax and crossentropy in one kernel of PyTorch's, from what the softmax was given."""

from __future__ import annotations

import math
from typing import Any

import keras
import torch
from torch.nn import functional

from unidl.keras_internals import tensor_attribute
from unidl.kernels import attach, writes
from unidl_torch.keras_internals import CROSSENTROPY, SOFTMAX

_softmax, _sparse_categorical_crossentropy = SOFTMAX.original, CROSSENTROPY.original

LOGITS = "_unidl_logits"
"""What the outputs of a softmax say of themselves: its inputs, its axis, and how often somebody had written to them."""


def softmax(x: Any, axis: int = -1) -> Any:
    """Keras's softmax, whose outputs `sparse_categorical_crossentropy` knows."""
    outputs = _softmax(x, axis)
    logits: Any = keras.ops.convert_to_tensor(x)
    if isinstance(axis, int) and isinstance(outputs, torch.Tensor) and logits.shape == outputs.shape:
        attach(outputs, LOGITS, (logits, axis % max(1, outputs.ndim), writes(logits), writes(outputs)))
    return outputs


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """The crossentropy from what a softmax was given, in one kernel; with the limits that Keras puts on probabilities,
    and no gradient beyond them. Keras itself marks the outputs of a sigmoid, and of a softmax over another axis, as
    those of this one."""
    logits = _logits(output)
    if from_logits or logits is None or axis not in (-1, 1) or logits.ndim != 2 or getattr(target, "ndim", 0) != 1:
        return _sparse_categorical_crossentropy(target, output, from_logits, axis)
    scores = logits if logits.dtype == torch.float64 else logits.float()
    losses = functional.cross_entropy(scores, target.long(), reduction="none")
    epsilon = keras.config.epsilon()
    return losses.clamp(-math.log1p(-epsilon), -math.log(epsilon)).to(output.dtype)


def _logits(outputs: Any) -> Any:
    """What the softmax over the last axis was given; None where the outputs are not its own, or no longer."""
    known = tensor_attribute(outputs, LOGITS)
    if known is None:
        return None
    logits, axis, *before = known
    same = None not in before and before == [writes(logits), writes(outputs)]
    same = same and outputs.requires_grad == logits.requires_grad and not outputs._backward_hooks
    return logits if same and axis == outputs.ndim - 1 else None
