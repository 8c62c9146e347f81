"""Keras's optimizers with PyTorch's fused kernels, for any memory layout of the tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import keras
import torch

from unidl.keras_internals import place_of
from unidl_torch.keras_internals import ADAM, CORE_OF_NADAM, slots_of

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors
fused: Any = torch  # PyTorch does not annotate the kernels of its optimizers

_parallel_update_step = ADAM.original


def adam(self: Any, grads: Sequence[torch.Tensor], variables: Sequence[Any], learning_rate: Any) -> None:
    """Keras's Adam with PyTorch's fused kernel. Keras adds epsilon before the bias correction, PyTorch after it: so the
    kernel gets a step number at which the bias has vanished, and the learning rate includes the correction."""
    places = [place_of(self, variable) for variable in variables]
    values = [variable.value for variable in variables]
    moments = [[slot[place].value for place in places] for slot in slots_of(self)]
    if not all(_is_plain(tensor) for tensors in (values, grads, *moments) for tensor in tensors):
        _parallel_update_step(self, grads, variables, learning_rate)
        return
    step = ops.cast(self.iterations, "float32") + 1
    correction = torch.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
    rate = ops.cast(learning_rate, "float32") * correction
    hats = moments[2] if self.amsgrad else []
    torch.ops.unidl.adam_(values, grads, *moments[:2], hats, rate, self.beta_1, self.beta_2, self.epsilon)


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.device.type in ("cpu", "cuda") and tensor.dtype == torch.float32 and tensor.layout is torch.strided


library = torch.library.Library("unidl", "FRAGMENT")
# A custom operation, so that a trace decides in each step according to the current memory layout of its variables.
library.define(
    "adam_(Tensor(a!)[] values, Tensor[] gradients, Tensor(b!)[] momentums, Tensor(c!)[] velocities, "
    "Tensor(d!)[] hats, Tensor rate, float beta_1, float beta_2, float epsilon) -> ()"
)


def _adam(
    values: list[torch.Tensor],
    gradients: list[torch.Tensor],
    momentums: list[torch.Tensor],
    velocities: list[torch.Tensor],
    hats: list[torch.Tensor],
    rate: torch.Tensor,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """Take one step of Adam. rate: learning rate including the bias correction; hats: empty without amsgrad.

    PyTorch's kernel reads and writes contiguous memory, ignoring the strides of a tensor: other layouts are computed
    operation by operation. A gradient that shares memory with a variable is read before the variable changes.
    """
    memory = {value.untyped_storage().data_ptr() for value in values}
    together: list[tuple[torch.Tensor, ...]] = []
    for value, given, momentum, velocity, hat in zip(
        values, gradients, momentums, velocities, hats or repeat(None), strict=False
    ):
        gradient = given.clone() if given.untyped_storage().data_ptr() in memory else given
        kept = (value, momentum, velocity) if hat is None else (value, momentum, velocity, hat)
        if all(tensor.is_contiguous() for tensor in kept):
            together.append((value, gradient.contiguous(), *kept[1:]))
            continue
        momentum.mul_(beta_1).add_(gradient, alpha=1 - beta_1)
        velocity.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        if hat is not None:
            velocity = hat.copy_(torch.maximum(hat, velocity))
        value.sub_(rate * momentum / (velocity.sqrt() + epsilon))
    if together:
        columns = [list(column) for column in zip(*together, strict=True)]
        fused._fused_adam_(
            *columns[:4],
            columns[4] if hats else [],
            [_long_gone(rate.device)] * len(together),
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            weight_decay=0.0,
            eps=epsilon,
            amsgrad=bool(hats),
            maximize=False,
        )
    # The kernel does not count its writes, by which traces detect that a weight has changed.
    torch.autograd.graph.increment_version(values)


library.impl("adam_", _adam, "CompositeExplicitAutograd")


@functools.cache
def _long_gone(device: torch.device) -> torch.Tensor:
    """Return a number of steps after which the powers of Adam's betas are 0 in float32."""
    return torch.tensor(1e12, device=device)


def sgd(self: Any, grads: Sequence[torch.Tensor], variables: Sequence[Any], learning_rate: Any) -> None:
    """Keras's SGD with the learning rate as a tensor, where Keras synchronizes to read its value in each step."""
    values = [variable.value for variable in variables]
    steps = fused._foreach_mul(list(grads), -ops.cast(learning_rate, "float32"))
    if self.momentum == 0:
        fused._foreach_add_(values, steps)
        return
    speeds = [self.momentums[place_of(self, variable)].value for variable in variables]
    fused._foreach_mul_(speeds, self.momentum)
    fused._foreach_add_(speeds, steps)
    if self.nesterov:
        fused._foreach_add_(values, steps)
        fused._foreach_add_(values, speeds, alpha=self.momentum)
    else:
        fused._foreach_add_(values, speeds)


class Core:
    """Keras's operations for its Nadam, which converts a product of its momenta to a Python number in each step: here
    it stays a tensor, so that a trace recomputes it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(CORE_OF_NADAM.original, name)

    @staticmethod
    def convert_to_numpy(value: torch.Tensor) -> torch.Tensor:
        return value
