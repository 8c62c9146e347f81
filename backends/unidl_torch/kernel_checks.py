"""Whether the kernels give what Keras's own give here: each computed both ways, on tensors that lie in memory in all
the ways in which those of a training do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import torch

from unidl_torch.kernel_cases import Case, image_cases, numbers, recurrent_cases

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value: float32 sums of some hundred products, in another order."""


def _in_a_row(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _reversed_axes(tensor: torch.Tensor) -> torch.Tensor:
    """As Keras's orthogonal initial weights lie."""
    axes = tuple(reversed(range(tensor.ndim)))
    return _in_a_row(tensor.permute(axes)).permute(axes)


def _every_second(tensor: torch.Tensor) -> torch.Tensor:
    wide = tensor.new_full((*tensor.shape, 2), -7)
    wide[..., 1] = tensor
    return wide[..., 1]


def _behind_others(tensor: torch.Tensor) -> torch.Tensor:
    """In a row, but not from the beginning of its memory."""
    flat = torch.cat((tensor.new_full((3,), -7), tensor.flatten()))
    return flat[3:].view(tensor.shape)


def _part_of_another(tensor: torch.Tensor) -> torch.Tensor:
    wide = tensor.new_full(tuple(side + 1 for side in tensor.shape), -7)
    part = wide[tuple(slice(1, None) for _ in tensor.shape)]
    return part.copy_(tensor)


def _last_axis_first(tensor: torch.Tensor) -> torch.Tensor:
    """As the images of a model that wants its channels first lie, if they came with the channels last."""
    return _in_a_row(tensor.movedim(-1, 0)).movedim(0, -1) if tensor.ndim > 1 else _every_second(tensor)


LAYOUTS = (_in_a_row, _reversed_axes, _every_second, _behind_others, _part_of_another, _last_axis_first)
"""Copies of a tensor, each in another place of memory than one would think."""


def laid_out(tensor: torch.Tensor, layout: int, place: int = 0) -> torch.Tensor:
    """A copy of a tensor in memory: in a row, if the layout is 0, or else in one of the other ways, which is another
    one for each tensor of a computation by its `place`."""
    ways = LAYOUTS[1:]
    kind = ways[(layout - 1 + place) % len(ways)] if layout and tensor.ndim else _in_a_row
    return kind(tensor.detach())


def disagreement(kernels: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Say which kernel computes something else than Keras, or return None. Draws no random number of anybody's."""
    with keras.device("cpu"):
        for name, compute in _computations():
            expected = compute(0, by_keras=True)
            for layout in range(len(LAYOUTS)):
                with kernels():
                    found = compute(layout, by_keras=False)
                if not all(_near(one, other) for one, other in zip(expected, found, strict=True)):
                    where = f", where its tensors lie in memory in another order ({layout})" if layout else ""
                    return f"the kernel for {name} gives other values than Keras here{where}"
    return None


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    apart = (one - other).abs().max()
    return one.shape == other.shape and bool(apart <= TOLERANCE * one.abs().max() + 1e-7)


def _computations() -> Iterator[tuple[str, Callable[..., list[torch.Tensor]]]]:
    """What each kernel is for, and what computes with it: on tensors of a layout, with Keras's own or not."""
    for case in (*image_cases(), *recurrent_cases()):
        yield case.name, _of_layers(case)
    yield "draws from a seed", _draws
    yield "choices by values", _choices
    optimizers: Any = keras.optimizers
    yield "Adam", _of_optimizer(lambda: optimizers.Adam(0.01))
    yield "Adam with amsgrad", _of_optimizer(lambda: optimizers.Adam(0.01, amsgrad=True))
    yield "Adadelta", _of_optimizer(lambda: optimizers.Adadelta(0.5))
    yield "Nadam", _of_optimizer(lambda: optimizers.Nadam(0.01))
    yield "SGD", _of_optimizer(lambda: optimizers.SGD(0.01))
    yield "SGD with momentum", _of_optimizer(lambda: optimizers.SGD(0.01, momentum=0.9))
    yield "SGD with Nesterov's momentum", _of_optimizer(lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True))


def _draws(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
    """What Keras's generators give, twice each: numbers that do not lie in memory yet."""
    del layout, by_keras
    seed, draw = keras.random.SeedGenerator(1), keras.random
    shares = numbers((2, 3))
    drawn: list[Any] = []
    for _ in range(2):
        drawn += [draw.uniform((2, 3), -1.0, 2.0, seed=seed), draw.normal((2, 3), 1.0, 2.0, seed=seed)]
        drawn += [draw.randint((2, 3), 0, 1000, seed=seed), draw.categorical(shares, 16, seed=seed)]
    return [values.float() for values in drawn]


def _choices(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
    """What Keras's operations give that look at values."""
    del by_keras
    ops: Any = keras.ops
    classes, values = laid_out(torch.tensor([[0, 2], [3, -1]]), layout), laid_out(numbers((3, 2)), layout, 1)
    places = laid_out(torch.tensor([[0], [2], [0]]), layout, 2)
    chosen = ops.cond(values.sum() > 0, lambda: values + 1.0, lambda: values)
    return [ops.one_hot(classes, 4), ops.scatter(places, values, (4, 2)), chosen]


def _of_layers(case: Case) -> Callable[..., list[torch.Tensor]]:
    """What computes the outputs of layers, their gradients and what the layers keep, in the type that the layers
    compute in: whoever verifies a model has float64 for every float32."""
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


def _of_optimizer(make: Callable[[], Any]) -> Callable[..., list[torch.Tensor]]:
    """What takes three steps of an optimizer; two of its variables are parts of one tensor."""
    shapes = ((3, 4), (2, 3, 2), (5,), ())

    def compute(layout: int, *, by_keras: bool) -> list[torch.Tensor]:
        del by_keras
        variables = [keras.Variable(numbers(shape, 1.0), dtype="float32") for shape in shapes]
        optimizer = make()
        optimizer.build(variables)
        slots = optimizer.variables[2:]  # behind the number of steps and the learning rate
        for place, variable in enumerate((*variables, *slots)):
            variable.value.data = laid_out(variable.value, layout, place)
        with torch.no_grad():
            for step in range(3):
                gradients = [laid_out(numbers(shape, 0.3 + step), layout, place) for place, shape in enumerate(shapes)]
                optimizer.apply(gradients, variables)
        return [_in_a_row(variable.value.detach()) for variable in (*variables, *slots)]

    return compute
