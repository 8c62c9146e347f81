"""PyTorch alone lets a tensor lie in memory as it likes. Whatever the strides, the numbers are the same.

Keras's orthogonal initial weights are such tensors. A kernel that reads memory in a row would train another model.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from unidl import registry

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

registry.current()

import keras  # noqa: E402  (only now is it decided on which framework it runs)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as some  # noqa: E402
from unidl_torch import kernel_checks, kernels  # noqa: E402

REPLACEMENTS = kernels.REPLACEMENTS
OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "Adam with amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, clipnorm=1.0),
    "SGD": lambda: keras.optimizers.SGD(0.01),
    "SGD with momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "SGD with Nesterov's momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
}


@some.composite
def places(draw):
    """How a tensor of three axes lies in memory: in what order its axes, how far apart, and where it begins."""
    order = draw(some.permutations(range(3)))
    steps = [draw(some.integers(1, 3)) for _ in range(3)]
    return tuple(order), tuple(steps), draw(some.integers(0, 3))


def tensor_of(numbers):
    """A tensor of these numbers where Keras computes; never in the memory of an array."""
    return keras.ops.convert_to_tensor(np.array(numbers, np.float32)).clone()


def numbers_of(variable):
    return keras.ops.convert_to_numpy(variable.value)


def lying(array, place, shared=None):
    """The numbers of an array, in memory as `place` says; in that of `shared`, if given, beside what is there."""
    order, steps, offset = place
    sides = [side * step for side, step in zip(array.shape, steps, strict=True)]
    strides, size = [0, 0, 0], 1
    for axis in reversed(order):
        strides[axis] = size * steps[axis]
        size *= sides[axis]
    memory = tensor_of(np.zeros(offset + size, np.float32)) if shared is None else shared
    tensor = memory.as_strided(array.shape, strides, offset)
    return tensor.copy_(torch.from_numpy(array))


def steps_of(make, layout, arrays, gradients, shared):
    """The variables after two steps, laid out so; two of them are the two halves of one tensor, if `shared`."""
    variables = [keras.Variable(array) for array in arrays]
    optimizer = make()
    optimizer.build(variables)
    if layout is not None:
        slots = [one for one in optimizer.variables if len(one.shape) == 3]
        for variable, place in zip((*variables, *slots), layout * 4, strict=False):
            variable.value.data = lying(numbers_of(variable), place)
        if shared:
            both = torch.stack([variable.value.detach() for variable in variables[:2]], dim=-1)
            for number, variable in enumerate(variables[:2]):
                variable.value.data = both[..., number]
    with torch.no_grad():
        for given_now in gradients:
            if layout is None:
                given_now = [tensor_of(gradient) for gradient in given_now]
            else:
                given_now = [lying(*pair) for pair in zip(given_now, reversed(layout[: len(arrays)]), strict=True)]
            optimizer.apply(given_now, variables)
    return [numbers_of(variable) for variable in variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(layout=some.lists(places(), min_size=5, max_size=5), shared=some.booleans(), seed=some.integers(0, 99))
def test_optimizers_do_not_care_how_variables_gradients_and_slots_lie(name, layout, shared, seed):
    drawn = np.random.default_rng(seed)
    arrays, *gradients = ([drawn.normal(size=(2, 3, 2)).astype(np.float32) for _ in range(3)] for _ in range(3))
    expected = steps_of(OPTIMIZERS[name], None, arrays, gradients, shared=False)
    with REPLACEMENTS.in_use():
        found = steps_of(OPTIMIZERS[name], layout, arrays, gradients, shared)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_variable_that_is_two_variables_learns_from_both_gradients():
    """As tied weights are, and as Keras trains them."""
    found = []
    for place in (None, 0):
        tensor = tensor_of(np.arange(6.0)).reshape(2, 3)
        variables = [keras.Variable(np.zeros(shape, np.float32)) for shape in ((2, 3), (3, 2))]
        variables[0].value.data, variables[1].value.data = tensor, tensor.t()
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(variables)
        gradients = [tensor_of(np.ones((2, 3))), tensor_of(np.arange(6.0).reshape(3, 2) - 2)]
        with torch.no_grad():
            if place is None:
                optimizer.apply(gradients, variables)
            else:
                with REPLACEMENTS.in_use():
                    optimizer.apply(gradients, variables)
        found.append(tensor)
    torch.testing.assert_close(found[0], found[1])


def test_a_gradient_in_the_memory_of_a_variable_is_read_before_that_changes():
    found = []
    for ours in (False, True):
        variables = [keras.Variable(np.full(3, value, np.float32)) for value in (1.0, 2.0)]
        optimizer = keras.optimizers.Adam(0.5)
        optimizer.build(variables)
        gradients = [tensor_of([1.0, -1.0, 2.0]), variables[0].value.detach()]
        with torch.no_grad():
            if ours:
                with REPLACEMENTS.in_use():
                    optimizer.apply(gradients, variables)
            else:
                optimizer.apply(gradients, variables)
        found.append([variable.value.detach() for variable in variables])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    place=places(),
    sizes=some.tuples(*(some.integers(1, 4) for _ in range(4))),
    expanded=some.booleans(),
    kind=some.sampled_from(["Conv2D", "BatchNormalization", "MaxPooling2D", "AveragePooling2D", "LSTM", "GRU"]),
)
def test_layers_do_not_care_how_their_batch_and_weights_lie(place, sizes, expanded, kind):
    rows, height, width, channels = sizes
    layers = keras.layers
    layer = {
        "Conv2D": lambda: layers.Conv2D(2, 1, activation="relu"),
        "BatchNormalization": lambda: layers.BatchNormalization(),
        "MaxPooling2D": lambda: layers.MaxPooling2D(2, padding="same"),
        "AveragePooling2D": lambda: layers.AveragePooling2D(1),
        "LSTM": lambda: layers.LSTM(2, return_sequences=True),
        "GRU": lambda: layers.GRU(2, return_sequences=True),
    }[kind]()
    flat = np.random.default_rng(0).normal(size=(rows, height * width, channels)).astype(np.float32)
    if expanded:
        flat[:] = flat[:1]
    steps = kind in ("LSTM", "GRU")
    shape = flat.shape if steps else (rows, height, width, channels)
    layer(tensor_of(flat).reshape(shape))
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(np.random.default_rng(number).normal(size=variable.shape))
    results = []
    for ours in (False, True):
        batch = tensor_of(flat)
        if ours:
            batch = batch[:1].expand(rows, -1, -1) if expanded else lying(flat, place)
            for variable in layer.trainable_variables:
                variable.value.data = kernel_checks.laid_out(variable.value, 1 + sum(place[1]) % 5, place[2])
        # The same numbers in another shape may lie as no reshaped tensor does.
        batch = batch.reshape(shape) if steps else batch.unflatten(1, (height, width))
        batch = batch.detach().requires_grad_()
        weights = [variable.value for variable in layer.trainable_variables]
        with REPLACEMENTS.in_use() if ours else nullcontext():
            outputs = layer(batch, training=True) if layer._call_has_training_arg else layer(batch)
            gradients = torch.autograd.grad(outputs.sin().sum(), [batch, *weights])
        results.append([outputs.detach(), *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_training_with_weights_that_are_parts_of_another_tensor():
    """The traced steps too, which are made with copies of the weights."""
    import unidl

    x = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype(np.float32)
    losses = []
    for ours in (False, True):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Conv2D(3, 3, activation="relu"), keras.layers.Reshape((4, 12)), keras.layers.LSTM(4)]
        model = keras.Sequential([keras.Input((6, 6, 2)), *layers, keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.02), "mse")
        if ours:
            for number, variable in enumerate(model.trainable_variables):
                wide = tensor_of(np.full((*variable.shape, 2), 7.0))
                wide[..., number % 2] = variable.value.detach()
                variable.value.data = wide[..., number % 2]
            unidl.Trainer(model).fit((x, x[:, 0, 0, :1]), batch_size=4, epochs=3, shuffle=False, progress="quiet")
        else:
            model.fit(x, x[:, 0, 0, :1], batch_size=4, epochs=3, shuffle=False, verbose=0)
        losses.append([variable.value.detach().clone() for variable in model.trainable_variables])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


SENSITIVE = (
    "convolution",
    "BatchNormalization",
    "average pooling",
    "dropout",
    "LSTM",
    "GRU",
    "masked LSTM",
    "masked GRU",
)
PLANTED = [one for one in REPLACEMENTS.entries if one.name in (*SENSITIVE, "Adam", "SGD")]


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.name)
def test_a_kernel_that_is_wrong_for_another_layout_alone_is_found(one):
    """As Adam's was: right for tensors that lie in a row, which was all that the check tried."""

    def tensors(arguments):
        for one in keras.tree.flatten(arguments):
            if isinstance(one, torch.Tensor):
                yield one
            elif isinstance(one, keras.Variable):
                yield one.value
            elif isinstance(one, keras.layers.Layer):
                yield from (variable.value for variable in one.variables)

    def wrong(right):
        def kernel(*arguments, **options):
            odd = not all(tensor.is_contiguous() for tensor in tensors((arguments, options)))
            results = right(*arguments, **options)
            if results is None:
                for variable in arguments[2] if odd else ():
                    variable.value.mul_(1.01)
                return None
            return keras.tree.map_structure(lambda one: 1.01 * one, results) if odd else results

        return kernel

    planted = replace(one, kernel=wrong(one.kernel))
    assert "its values differ from Keras" in str(one.check(lambda: REPLACEMENTS.in_use([planted])))
