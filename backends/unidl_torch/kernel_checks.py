"""Checks that a kernel agrees with Keras's function: computed both ways, on tensors with all memory layouts that occur
during training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import torch

from unidl.replacements import InUse
from unidl_torch.kernel_cases import Case, numbers

TOLERANCE = 1e-4
"""Largest difference relative to the largest value: for float32 sums of about a hundred products, in a different
order."""


def _in_a_row(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _reversed_axes(tensor: torch.Tensor) -> torch.Tensor:
    """The layout of Keras's orthogonal initial weights."""
    axes = tuple(reversed(range(tensor.ndim)))
    return _in_a_row(tensor.permute(axes)).permute(axes)


def _every_second(tensor: torch.Tensor) -> torch.Tensor:
    wide = tensor.new_full((*tensor.shape, 2), -7)
    wide[..., 1] = tensor
    return wide[..., 1]


def _behind_others(tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous, but with an offset from the start of its memory."""
    flat = torch.cat((tensor.new_full((3,), -7), tensor.flatten()))
    return flat[3:].view(tensor.shape)


def _part_of_another(tensor: torch.Tensor) -> torch.Tensor:
    wide = tensor.new_full(tuple(side + 1 for side in tensor.shape), -7)
    part = wide[tuple(slice(1, None) for _ in tensor.shape)]
    return part.copy_(tensor)


def _last_axis_first(tensor: torch.Tensor) -> torch.Tensor:
    """The layout of channels-last images that were transposed for a channels-first model."""
    return _in_a_row(tensor.movedim(-1, 0)).movedim(0, -1) if tensor.ndim > 1 else _every_second(tensor)


LAYOUTS = (_in_a_row, _reversed_axes, _every_second, _behind_others, _part_of_another, _last_axis_first)
"""Functions that copy a tensor to an unusual memory layout."""


def laid_out(tensor: torch.Tensor, layout: int, place: int = 0) -> torch.Tensor:
    """Copy a tensor: contiguous if the layout is 0, else in one of the other layouts, which differs
    between the tensors of a computation by their `place`."""
    ways = LAYOUTS[1:]
    kind = ways[(layout - 1 + place) % len(ways)] if layout and tensor.ndim else _in_a_row
    return kind(tensor.detach())


Compute = Callable[..., list[torch.Tensor]]
"""Computes on tensors of a layout, with or without the correction of Keras's errors."""

Check = Callable[[InUse], str | None]


def of_layers(cases: Callable[[], Iterable[Case]]) -> Check:
    """Return the check of layers: outputs, gradients and state."""
    return _check(lambda: ((case.name, _of_layers(case)) for case in cases()))


def of_operation(operation: Callable[[Callable[[torch.Tensor], torch.Tensor]], Any]) -> Check:
    """Return the check of a Keras operation; the operation receives the function that copies its tensors."""

    def compute(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
        del by_keras
        places = itertools.count()
        return [operation(lambda tensor: laid_out(tensor, layout, next(places)))]

    return _check(lambda: [(operation.__name__, compute)])


def of_optimizers(made: Iterable[Callable[[], Any]]) -> Check:
    """Return the check of optimizers, with a few steps of each."""
    return _check(lambda: (("some steps", _of_optimizer(make)) for make in made))


def _check(computations: Callable[[], Iterable[tuple[str, Compute]]]) -> Check:
    def check(in_use: InUse) -> str | None:
        with keras.device("cpu"):
            for name, compute in computations():
                expected = compute(0, by_keras=True)
                for layout in range(len(LAYOUTS)):
                    with in_use():
                        found = compute(layout, by_keras=False)
                    if not all(_near(one, other) for one, other in zip(expected, found, strict=True)):
                        where = f", for tensors with another memory layout ({layout})" if layout else ""
                        return f"its values differ from Keras's: {name}{where}"
        return None

    return check


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    apart = (one - other).abs().max()
    return one.shape == other.shape and bool(apart <= TOLERANCE * one.abs().max() + 1e-7)


def _of_layers(case: Case) -> Compute:
    """Return a function that computes outputs, gradients and state of layers, in the layers' compute
    dtype: during a verification float32 is replaced by float64."""
    given = [_typed_as(case.layers[0].compute_dtype, one) for one in (case.inputs, *case.states)]
    with torch.no_grad():
        case.outputs(given[0], given[1:])
    variables = [variable for layer in case.layers for variable in layer.variables]
    start = [
        _typed_as(variable.dtype, numbers(variable.shape, 1 + 0.1 * place))
        if variable.value.is_floating_point()
        else variable.value.clone()
        for place, variable in enumerate(variables)
    ]

    def compute(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
        for place, (variable, value) in enumerate(zip(variables, start, strict=True)):
            variable.value.data = laid_out(value, layout, place)
        inputs, *states = (laid_out(one, layout, place + 1) for place, one in enumerate(given))
        weights = [variable.value for variable in variables if variable.trainable]
        sought = [tensor.requires_grad_() for tensor in (inputs, *states, *weights) if tensor.is_floating_point()]
        with torch.enable_grad():
            outputs = case.outputs(inputs, states, by_keras=by_keras)
        gradients = torch.autograd.grad(outputs, sought, laid_out(numbers(outputs.shape, 0.7), layout, layout))
        kept = [_in_a_row(variable.value.detach()) for variable in variables if not variable.trainable]
        with torch.no_grad():
            predicted = case.outputs(inputs, states, by_keras=by_keras, training=False)
        return [outputs.detach(), *gradients, *kept, predicted]

    return compute


def _typed_as(dtype: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def _of_optimizer(make: Callable[[], Any]) -> Compute:
    """Return a function that takes three steps of an optimizer; two of its variables are parts of one tensor."""
    shapes = ((3, 4), (2, 3, 2), (5,), ())

    def compute(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
        del by_keras
        variables = [keras.Variable(numbers(shape, 1.0), dtype="float32") for shape in shapes]
        optimizer = make()
        optimizer.build(variables)
        slots = optimizer.variables[2:]  # after the number of steps and the learning rate
        for place, variable in enumerate((*variables, *slots)):
            variable.value.data = laid_out(variable.value, layout, place)
        with torch.no_grad():
            for step in range(3):
                gradients = [laid_out(numbers(shape, 0.3 + step), layout, place) for place, shape in enumerate(shapes)]
                optimizer.apply(gradients, variables)
        return [_in_a_row(variable.value.detach()) for variable in (*variables, *slots)]

    return compute
