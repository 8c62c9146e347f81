"""When a step of PyTorch's is traced, and how often: only PyTorch has traces."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from unidl import registry

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

import numpy as np
import torch
from training import dense, points

from unidl import Trainer

registry.current()

import keras  # noqa: E402  (only now is its backend decided)


def traces(trainer):
    return trainer._ready_loop()._train._traced


def test_each_shape_is_traced_once_it_has_come_twice():
    model = dense()
    trainer = Trainer(model)
    trainer.fit(points(22), batch_size=8, epochs=4, progress="quiet")
    assert sorted(shape[0] for [(shape, _), *_] in traces(trainer)) == [6, 8]


def test_a_long_trace_is_not_made_again_for_the_few_smaller_batches(caplog):
    """Tracing takes a while where a layer loops over hundreds of steps, and a smaller batch comes once an epoch."""

    class Long(keras.layers.Layer):
        def call(self, inputs):
            for _ in range(3000):
                inputs = torch.neg(inputs)
            return inputs

    model = keras.Sequential([keras.Input((3,)), Long(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    trainer = Trainer(model)
    with caplog.at_level(logging.INFO, "unidl"):
        trainer.fit(points(22), batch_size=8, epochs=4, progress="quiet")
    assert [shape[0] for [(shape, _), *_] in traces(trainer)] == [8]
    assert "tracing it takes a while" in caplog.text
    assert trainer.why_not_compiled is None


def test_a_step_that_swaps_the_memory_of_a_tensor_is_not_traced():
    class Swapping(keras.layers.Layer):
        def call(self, inputs):
            other = torch.zeros_like(inputs)
            other.data = inputs.detach()
            return inputs + other

    model = keras.Sequential([keras.Input((3,)), Swapping(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    trainer = Trainer(model)
    trainer.fit(points(16), batch_size=8, epochs=2, progress="quiet")
    assert "it replaces the memory of a tensor" in str(trainer.why_not_compiled)


def drawing():
    """A model that draws several times in a step, with generators of its own and a shared one."""
    keras.utils.set_random_seed(3)
    shared = keras.random.SeedGenerator(300)

    class Twice(keras.layers.Layer):
        def call(self, inputs, training=False):
            return inputs * keras.random.uniform((3,), seed=shared) + keras.random.normal((3,), seed=shared)

    layers = [keras.layers.Dropout(0.5, seed=100), Twice(), keras.layers.GaussianNoise(0.5, seed=200)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def test_seeds_are_computed_without_the_rest_of_the_step():
    """On a GPU they are needed before a recorded step runs; else it would draw other numbers than Keras."""
    from unidl_torch.seeds import Seeds, given_generators, number_of

    trainer = Trainer(drawing())
    trainer.fit(points(16), batch_size=8, epochs=3, progress="quiet")
    [traced] = traces(trainer).values()
    module, device = traced._graph, traced.variables[0].value.device
    seeds = Seeds(module, len(traced.variables))
    assert (seeds.count, seeds.why_not) == (4, None)
    leaves = [torch.ones(8, 3, device=device), torch.ones(8, 1, device=device)]
    one, other = traced._copies(), traced._copies()
    seeds.read(one)
    drawn = []
    for _ in range(3):
        numbers = seeds.next()
        generators = [torch.Generator(device).manual_seed(number) for number in numbers]
        with given_generators(generators):
            module.forward(one, leaves)
        module.forward(other, leaves)
        drawn += numbers
        for first, second in zip(one, other, strict=True):
            assert torch.equal(first, second)
    assert len(set(drawn)) == 12
    assert number_of(torch.tensor([2**32 - 1, 2])) == 1


def test_a_recorded_step_gets_its_batch_and_its_draws_and_is_recorded_again_where_a_variable_has_moved(monkeypatch):
    """With a graph that computes when it is replayed: what a GPU would repeat, with the memory it was recorded with."""
    from unidl_torch.recording import WARM_UP, Recording
    from unidl_torch.seeds import given_generators

    trainer = Trainer(drawing())
    trainer.fit(points(16), batch_size=8, epochs=3, progress="quiet")
    [traced] = traces(trainer).values()
    device = traced.variables[0].value.device
    recorded = []

    class Graph:
        def register_generator_state(self, generator):
            recorded.append(generator)

        def replay(self):
            with given_generators(kept._generators):
                kept._module.forward(self.values, kept._inputs)

    @contextmanager
    def recording(graph, **options):
        graph.values = list(one)
        one[:] = [value.clone() for value in one]  # what is recorded is not computed
        yield
        one[:] = graph.values

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    kept = Recording(traced._graph, len(traced.variables), lambda: 0)
    one, other = traced._copies(), traced._copies()
    kept.bind(one)
    for step in range(2 * WARM_UP):
        leaves = [torch.full((8, 3), 1.0 + step, device=device), torch.ones(8, 1, device=device)]
        kept(one, leaves)
        traced._graph.forward(other, leaves)
    assert len(recorded) == 4
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)
    kept.bind(one)
    kept(one, leaves)
    assert len(recorded) == 4
    one[0] = one[0].clone()
    kept.bind(one)
    kept(one, leaves)
    assert len(recorded) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU repeats recorded steps")
@pytest.mark.parametrize("build", [drawing, dense])
def test_recorded_steps_are_those_that_were_recorded(build):
    """The same losses, epoch by epoch, as from Keras's own loop, also after a weight was assigned or moved."""
    data = points(64)

    def trained(fit):
        model = build()
        losses = [fit(model)]
        model.layers[-1].kernel.assign(model.layers[-1].kernel * 0.5)
        losses.append(fit(model))
        return np.concatenate(losses)

    trainers = {}

    def ours(model):
        trainers[id(model)] = trainer = trainers.get(id(model)) or Trainer(model)
        trainer.fit(data, batch_size=8, epochs=3, shuffle=False, progress="quiet")
        [traced] = traces(trainer).values()
        assert traced._recording.why_not is None
        assert traced._recording._graph is not None
        return trainer.history["loss"]

    def keras_own(model):
        return model.fit(data.x, data.y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]

    np.testing.assert_allclose(trained(ours), trained(keras_own), rtol=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: keras.random.uniform((3, 2), -1.0, 2.0, seed=seed),
        lambda seed: keras.random.uniform((), seed=seed),
        lambda seed: keras.random.normal((3, 2), 1.0, 0.5, seed=seed),
        lambda seed: keras.random.truncated_normal((3, 2), 1.0, 0.5, seed=seed),
        lambda seed: keras.random.randint((3, 2), -4, 9, seed=seed),
        lambda seed: keras.random.categorical(np.arange(6.0, dtype=np.float32).reshape(2, 3), 4, seed=seed),
        lambda seed: keras.random.dropout(keras.ops.ones((3, 4)), 0.4, seed=seed),
    ],
    ids=["uniform", "one", "normal", "truncated", "randint", "categorical", "dropout"],
)
def test_draws_of_a_seed_are_those_of_keras(draw):
    from unidl_torch.kernels import REPLACEMENTS

    one, other = keras.random.SeedGenerator(7), keras.random.SeedGenerator(7)
    expected = [draw(one) for _ in range(3)] + [draw(11)]
    with REPLACEMENTS.in_use():
        found = [draw(other) for _ in range(3)] + [draw(11)]
    for first, second in zip(expected, found, strict=True):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.RandomFlip(seed=1),
        lambda: keras.layers.RandomTranslation(0.2, 0.2, seed=1),
        lambda: keras.layers.RandomRotation(0.2, seed=1),
        lambda: keras.layers.RandomZoom(0.2, seed=1),
        lambda: keras.layers.RandomContrast(0.4, value_range=(0, 1), seed=1),
        lambda: keras.layers.RandomBrightness(0.4, value_range=(0, 1), seed=1),
        lambda: keras.layers.GaussianNoise(0.5, seed=1),
        lambda: keras.layers.GaussianDropout(0.5, seed=1),
        lambda: keras.layers.AlphaDropout(0.5, seed=1),
        lambda: keras.layers.SpatialDropout2D(0.5, seed=1),
    ],
)
def test_layers_of_keras_that_draw_are_traced_and_draw_what_they_draw_in_keras(layer):
    """Augmentation that people have in their models; the losses of a model that does not learn tell the draws apart."""
    x = np.random.default_rng(0).random((16, 6, 6, 1), np.float32)
    y = np.zeros((16, 1), np.float32)

    def build():
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((6, 6, 1)), layer(), keras.layers.Flatten(), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        return model

    expected = build().fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0).history["loss"]
    trainer = Trainer(build())
    found = trainer.fit((x, y), batch_size=8, epochs=4, shuffle=False, progress="quiet").history["loss"]
    assert trainer.why_not_compiled is None
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(found)) == 4
