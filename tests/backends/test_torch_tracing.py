"""When a step of PyTorch's is traced, and how often: only PyTorch has traces."""

from __future__ import annotations

import logging

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
