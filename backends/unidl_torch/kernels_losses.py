"""Softmax and cross-entropy in one PyTorch kernel, computed from the inputs of the softmax."""

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
"""Attribute of the outputs of a softmax: its inputs, its axis, and the number of in-place writes to the outputs."""


def softmax(x: Any, axis: int = -1) -> Any:
    """Keras's softmax with outputs that `sparse_categorical_crossentropy` recognizes."""
    outputs = _softmax(x, axis)
    logits: Any = keras.ops.convert_to_tensor(x)
    if isinstance(axis, int) and isinstance(outputs, torch.Tensor) and logits.shape == outputs.shape:
        attach(outputs, LOGITS, (logits, axis % max(1, outputs.ndim), writes(logits), writes(outputs)))
    return outputs


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Compute the cross-entropy from the inputs of a softmax in one kernel; with Keras's clipping of probabilities,
    and no gradient outside the limits. Keras itself marks the outputs of a sigmoid, and of a softmax over another axis,
    as those of this one."""
    logits = _logits(output)
    if from_logits or logits is None or axis not in (-1, 1) or logits.ndim != 2 or getattr(target, "ndim", 0) != 1:
        return _sparse_categorical_crossentropy(target, output, from_logits, axis)
    scores = logits if logits.dtype == torch.float64 else logits.float()
    losses = functional.cross_entropy(scores, target.long(), reduction="none")
    epsilon = keras.config.epsilon()
    return losses.clamp(-math.log1p(-epsilon), -math.log(epsilon)).to(output.dtype)


def _logits(outputs: Any) -> Any:
    """Return the inputs of the softmax over the last axis; None if the outputs are not, or no longer, its result."""
    known = tensor_attribute(outputs, LOGITS)
    if known is None:
        return None
    logits, axis, *before = known
    same = None not in before and before == [writes(logits), writes(outputs)]
    same = same and outputs.requires_grad == logits.requires_grad and not outputs._backward_hooks
    return logits if same and axis == outputs.ndim - 1 else None
