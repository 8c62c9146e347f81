"""When a step of PyTorch's is traced, and how often: only PyTorch has traces."""

from __future__ import annotations

import logging

import pytest

from unidl import registry

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

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
    """Tracing takes minutes where a layer loops over hundreds of steps; the last batch of an epoch comes once in each."""

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
    assert "to trace it takes a while" in caplog.text
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
    assert "gives a tensor other memory" in str(trainer.why_not_compiled)
