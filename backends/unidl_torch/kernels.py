"""What Keras lacks on PyTorch: kernels that compute the same numbers faster, in place of Keras's while our loop runs.

Each replaces one function of Keras 3.15, and only if it gives the same values and gradients here:
`REPLACEMENTS.why_not` says why none is in use.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras.src.backend.torch.optimizers import torch_sgd
from keras.src.backend.torch.optimizers.torch_adam import Adam as KerasAdam
from torch.nn import functional

from unidl.kernels import Replacements
from unidl_torch import kernel_checks, kernels_images, kernels_mends, kernels_random, kernels_recurrent

keras_nn = sys.modules["keras.src.backend.torch.nn"]

ops: Any = keras.ops  # whose annotations allow for results that are no tensors
fused: Any = torch  # which does not annotate the kernels of its own optimizers


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """The crossentropy from the logits that Keras's softmax leaves on its output, in one kernel; with the limits that
    Keras puts on probabilities, and no gradient beyond them."""
    logits = getattr(output, "_keras_logits", None)
    if from_logits or logits is None or axis not in (-1, logits.ndim - 1) or logits.ndim != 2 or target.ndim != 1:
        return _sparse_categorical_crossentropy(target, output, from_logits, axis)
    scores = logits if logits.dtype == torch.float64 else logits.float()
    losses = functional.cross_entropy(scores, target.long(), reduction="none")
    epsilon = keras.config.epsilon()
    return losses.clamp(-math.log1p(-epsilon), -math.log(epsilon)).to(output.dtype)


def adam(self: Any, grads: Sequence[torch.Tensor], variables: Sequence[Any], learning_rate: Any) -> None:
    """Keras's Adam in PyTorch's fused kernel. Keras adds epsilon before it corrects the bias, PyTorch after: so the
    kernel is told that the bias is long gone, and the learning rate carries the correction."""
    values = [variable.value for variable in variables]
    if any(value.device.type != "cpu" or value.dtype != torch.float32 for value in values):
        _parallel_update_step(self, grads, variables, learning_rate)
        return
    places = [self._get_variable_index(variable) for variable in variables]
    step = ops.cast(self.iterations, "float32") + 1
    correction = torch.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
    corrected = ops.cast(learning_rate, "float32") * correction
    hats = [self._velocity_hats[place].value for place in places] if self.amsgrad else []
    fused._fused_adam_(
        values,
        [grad.contiguous() for grad in grads],  # the kernel reads memory in a row, whatever the strides
        [self._momentums[place].value for place in places],
        [self._velocities[place].value for place in places],
        hats,
        [_long_gone()] * len(values),
        lr=corrected,
        beta1=self.beta_1,
        beta2=self.beta_2,
        weight_decay=0.0,
        eps=self.epsilon,
        amsgrad=self.amsgrad,
        maximize=False,
    )
    # The kernel does not count its writes, by which traces see that a weight has changed.
    torch.autograd.graph.increment_version(values)


def sgd(self: Any, grads: Sequence[torch.Tensor], variables: Sequence[Any], learning_rate: Any) -> None:
    """Keras's SGD with the learning rate as a tensor, where Keras's own waits for its value in each step."""
    values = [variable.value for variable in variables]
    steps = fused._foreach_mul(list(grads), -ops.cast(learning_rate, values[0].dtype))
    if self.momentum == 0:
        fused._foreach_add_(values, steps)
        return
    speeds = [self.momentums[self._get_variable_index(variable)].value for variable in variables]
    fused._foreach_mul_(speeds, self.momentum)
    fused._foreach_add_(speeds, steps)
    if self.nesterov:
        fused._foreach_add_(values, steps)
        fused._foreach_add_(values, speeds, alpha=self.momentum)
    else:
        fused._foreach_add_(values, speeds)


_sparse_categorical_crossentropy = keras_nn.sparse_categorical_crossentropy
_parallel_update_step = KerasAdam._parallel_update_step

REPLACEMENTS = Replacements(
    [
        *kernels_images.REPLACEMENTS,
        *kernels_mends.REPLACEMENTS,
        *kernels_random.REPLACEMENTS,
        *kernels_recurrent.REPLACEMENTS,
        (keras_nn, "sparse_categorical_crossentropy", sparse_categorical_crossentropy),
        (KerasAdam, "_parallel_update_step", adam),
        (torch_sgd.SGD, "_parallel_update_step", sgd),
    ],
    keras="3.15.",
    disagreement=kernel_checks.disagreement,
)


@functools.cache
def _long_gone() -> torch.Tensor:
    """A number of steps after which no power of Adam's betas is left in float32."""
    return torch.tensor(1e12)
