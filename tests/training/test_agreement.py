"""Our loop takes the steps that Keras's own `fit` takes on the same backend.

Without this a model trained here is not the model that its loss, optimizer and callbacks describe.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from training import (
    FLOAT32,
    assert_same_weights,
    dense,
    draws,
    pictures,
    points,
    sentences,
    small_cnn,
    weights_of,
)

from unidl import Trainer, devices
from unidl.backend import Chunk
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later
from unidl.precision import named

LOSS_TOLERANCE = 5e-5
"""ReLU and max-pooling branch on the last bits of float32, which grows a difference tenfold in some eight steps."""

MIXED_TOLERANCE = 2e-2
"""bfloat16 keeps 7 bits of mantissa, and compilers differ in where they round to it."""

BATCH = 4
STEPS = 20
EXACT_STEPS = 8


@dataclass(frozen=True)
class Case:
    """A model, how it is compiled, and how many of its 20 steps go into one dispatch."""

    model: str
    optimizer: str
    options: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    weighted: bool = False
    steps: int = 1
    precision: str = "float32"

    def built(self):
        import keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            optimizer = getattr(keras.optimizers, self.optimizer)(0.01, **self.options)
            if self.model == "dense":
                return dense(optimizer=optimizer, **self.build)
            model = (
                small_cnn(precision=self.precision, **self.build) if self.model == "cnn" else recurrent(**self.build)
            )
            model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model
        finally:
            keras.config.set_dtype_policy(before)

    def data(self):
        split = {"dense": points, "cnn": pictures, "recurrent": sentences}[self.model](BATCH * STEPS)
        if not self.weighted:
            return split
        return replace(split, sample_weight=draws(1).uniform(0, 2, size=len(split)).astype(np.float32))


@drawn_later()  # since `initialise` draws all: JAX takes long over what Keras draws
def recurrent(dropout=0.0):
    """A GRU and an LSTM, both of which skip padding, and dropout between them."""
    import keras

    tokens = keras.Input((6,), dtype="int32")
    vectors = keras.layers.Embedding(12, 8, mask_zero=True)(tokens)
    steps = keras.layers.GRU(8, return_sequences=True)(vectors)
    if dropout:
        steps = keras.layers.Dropout(dropout, seed=1)(steps)
    scores = keras.layers.Dense(12)(keras.layers.LSTM(8)(steps))
    model = keras.Model(tokens, keras.layers.Activation("softmax", dtype="float32")(scores))
    initialise(model, seed=0)
    return model


def computing(backend):
    """Where and how the trainer computes by default; Keras on a GPU would compute in TF32."""
    return backend.on(devices.resolve().device), backend.precision(named("float32"))


@contextmanager
def corrected(backend):
    """Keras without its fault on TensorFlow: there it squares the gradients of a token that comes twice apart."""
    with pytest.MonkeyPatch.context() as patch:
        if backend.name == "tensorflow":
            from keras.src.optimizers.base_optimizer import BaseOptimizer
            from unidl_tensorflow.kernels import filter_empty_gradients

            patch.setattr(BaseOptimizer, "_filter_empty_gradients", filter_empty_gradients)
        yield


def by_keras(case, backend):
    """The weights after Keras's own `fit`, and the mean loss after each of its steps."""
    import keras

    model, data = case.built(), case.data()
    means: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.append(logs["loss"]))
    place, precision = computing(backend)
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "callbacks": [watch]}
    with place, precision, corrected(backend):
        model.fit(data.x, data.y, sample_weight=data.sample_weight, **options)
    return weights_of(model), means


def by_loop(case, backend):
    """The same by the adapter's loop, with the mean loss after each chunk."""
    model, data = case.built(), case.data()
    place, precision = computing(backend)
    with place, precision:
        loop = backend.compile_loop(model, device=devices.resolve().device, steps=case.steps)
        assert loop.steps_per_dispatch == case.steps
        rows = np.arange(BATCH * STEPS).reshape(STEPS, BATCH)
        logs = [loop.run(Chunk(data, rows[at : at + case.steps])) for at in range(0, STEPS, case.steps)]
        loop.commit()
        return weights_of(model), [log.read()["loss"] for log in logs]


def assert_agrees(case, expected, found, *, weights=True):
    """Fail unless the mean losses of the first steps agree, and the weights after the last one if asked for."""
    chunks = EXACT_STEPS // case.steps
    mixed = case.precision != "float32"
    np.testing.assert_allclose(
        found[1][:chunks],
        expected[1][case.steps - 1 :: case.steps][:chunks],
        rtol=0,
        atol=MIXED_TOLERANCE if mixed else LOSS_TOLERANCE,
    )
    if weights:
        assert_same_weights(found[0], expected[0], MIXED_TOLERANCE if mixed else FLOAT32)


def test_the_comparison_fails_where_training_differs(backend):
    case = Case("dense", "SGD")
    expected = by_keras(case, backend)
    assert_agrees(case, expected, by_loop(case, backend))
    for other in (replace(case, options={"momentum": 0.1}), replace(case, weighted=True)):
        with pytest.raises(AssertionError):
            assert_agrees(case, expected, by_loop(other, backend))


CASES = {
    "recurrent": Case("recurrent", "AdamW", {"clipnorm": 0.5}, weighted=True, steps=4),
    "cnn with Adam": Case("cnn", "Adam"),
    "cnn": Case("cnn", "SGD", {"momentum": 0.9, "nesterov": True}, {"batch_normalization": True}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_model_takes_keras_steps(case, backend):
    """One by one or several in a dispatch. Weights of a CNN branch apart after some steps, its losses do not."""
    assert_agrees(case, by_keras(case, backend), by_loop(case, backend), weights=case.model == "recurrent")


MODELS = {
    "dense": [{}, {"dropout": 0.4}],
    "cnn": [{"batch_normalization": True}, {"batch_normalization": True, "dropout": 0.3}],
    "recurrent": [{}, {"dropout": 0.3}],
}
"""Models, each with what it is built with: without and with dropout. All see batch normalization, or masks."""


@some.composite
def cases(draw):
    """Everything that changes a step, in any combination."""
    model = draw(some.sampled_from(list(MODELS)))
    clip = draw(some.sampled_from([{}, {"clipnorm": 0.1}, {"clipvalue": 0.05}, {"global_clipnorm": 0.2}]))
    options = {**clip, "gradient_accumulation_steps": draw(some.sampled_from([None, 2, 3]))}
    if draw(some.booleans()):
        options |= {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4}
    return Case(
        model,
        draw(some.sampled_from(["SGD", "Adam", "AdamW", "RMSprop"])),
        options,
        draw(some.sampled_from(MODELS[model])),
        weighted=draw(some.booleans()),
        steps=draw(some.sampled_from([1, 2, 4])),
        precision=draw(some.sampled_from(["float32", "float32", "mixed_bfloat16", "mixed_float16"])),
    )


def assert_options_go_together(backend, case):
    """Same seeds drop the same units as Keras does on this backend."""
    comparable = case.model != "cnn" and not case.options.get("use_ema")
    assert_agrees(case, by_keras(case, backend), by_loop(case, backend), weights=comparable)


@settings(max_examples=4, derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(case=cases())
def test_options_go_together(backend, case):
    assert_options_go_together(backend, case)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, print_blob=True)
@given(case=cases())
def test_many_options_go_together(backend, case):
    assert_options_go_together(backend, case)


def test_fit_is_keras_fit(backend):
    """The whole path, with validation, several epochs and the average of the weights that use_ema=True asks for."""
    import keras

    data, held_out = points(22), points(9, seed=1)

    def built():
        optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)
        return dense(optimizer=optimizer, metrics=["mean_absolute_error"])

    theirs, ours = built(), built()
    expected = theirs.fit(
        data.x, data.y, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(held_out.x, held_out.y)
    )
    trainer = Trainer(ours)
    found = trainer.fit(data, validation=held_out, batch_size=4, epochs=3, shuffle=False, progress="quiet")
    assert_same_weights(weights_of(ours), weights_of(theirs), FLOAT32)
    assert type(found) is type(expected)
    assert found.epoch == expected.epoch
    assert found.params == {**expected.params, "verbose": 0}
    assert list(found.history) == list(expected.history)
    for name, values in expected.history.items():
        assert [type(value) for value in found.history[name]] == [type(value) for value in values]
        np.testing.assert_allclose(found.history[name], values, rtol=0, atol=FLOAT32)
    assert trainer.history == found.history
