"""What Keras lacks on PyTorch: kernels that compute the same numbers faster, in place of Keras's while our loop runs.

Each replaces one function of Keras 3.15, and only if it gives the same values and gradients here:
`REPLACEMENTS.why_not` says why none is in use.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import keras
import torch
from keras.src.backend.common.tensor_attributes import get_tensor_attr
from torch.nn import functional

from unidl.kernels import Replacements, notice, writes
from unidl_torch import (
    kernel_checks,
    kernels_images,
    kernels_mends,
    kernels_optimizers,
    kernels_random,
    kernels_recurrent,
    kernels_values,
)

keras_nn = sys.modules["keras.src.backend.torch.nn"]


LOGITS = "_unidl_logits"
"""What the outputs of a softmax say of themselves: its inputs, its axis, and how often somebody had written to them."""


def softmax(x: Any, axis: int = -1) -> Any:
    """Keras's softmax, whose outputs `sparse_categorical_crossentropy` knows."""
    outputs = _softmax(x, axis)
    logits: Any = keras.ops.convert_to_tensor(x)
    if isinstance(axis, int) and isinstance(outputs, torch.Tensor) and logits.shape == outputs.shape:
        notice(outputs, LOGITS, (logits, axis % max(1, outputs.ndim), writes(logits), writes(outputs)))
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
    known = get_tensor_attr(outputs, LOGITS)
    if known is None:
        return None
    logits, axis, *before = known
    same = None not in before and before == [writes(logits), writes(outputs)]
    same = same and outputs.requires_grad == logits.requires_grad and not outputs._backward_hooks
    return logits if same and axis == outputs.ndim - 1 else None


_softmax = keras_nn.softmax
_sparse_categorical_crossentropy = keras_nn.sparse_categorical_crossentropy

REPLACEMENTS = Replacements(
    [
        *kernels_images.REPLACEMENTS,
        *kernels_mends.REPLACEMENTS,
        *kernels_optimizers.REPLACEMENTS,
        *kernels_random.REPLACEMENTS,
        *kernels_recurrent.REPLACEMENTS,
        *kernels_values.REPLACEMENTS,
        (keras_nn, "softmax", softmax),
        (keras_nn, "sparse_categorical_crossentropy", sparse_categorical_crossentropy),
    ],
    keras="3.15.",
    disagreement=kernel_checks.disagreement,
)
