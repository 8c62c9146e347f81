"""Mixed precision trains: losses stay float32, overflow costs a step and not the run.

Without this float16 gradients vanish or one overflow turns every weight into NaN.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager

import numpy as np
import pytest
from training import assert_same_weights, dense, differ, pictures, points, sentences, small_cnn, small_lstm, weights_of

from unidl import Trainer, precision
from unidl.backend import Chunk
from unidl.data import Split
from unidl.errors import PrecisionError
from unidl.precision import named


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", ["cnn", "lstm"])
def test_a_mixed_model_learns(backend, kind, policy):
    import keras

    build, data = (small_cnn, pictures(24)) if kind == "cnn" else (small_lstm, sentences(24))
    model = build(precision=policy)
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(0.3), metrics=[])
    assert trainer.precision == named(policy)
    losses = trainer.fit(data, batch_size=8, epochs=4, progress="quiet").history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert {str(variable.dtype) for variable in model.weights} == {"float32"}
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")


def test_probabilities_and_losses_are_float32(backend):
    """In float16 probabilities are rounded to 1e-3 and the losses of sure predictions to 0."""
    data = pictures(8)
    trainer = Trainer(small_cnn(precision="mixed_float16"))
    probabilities = trainer.predict(data.x)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    expected = -np.log(probabilities[np.arange(8), data.y].astype(np.float64)).mean()
    assert trainer.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-6)


def test_loss_scaling_is_added_to_every_compiled_model_that_needs_it(backend):
    """Keras adds it only where the model's own policy says float16, and our layers have theirs one by one."""
    import keras

    scaling = keras.optimizers.LossScaleOptimizer
    model = small_cnn(precision="mixed_float16")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    Trainer(model)
    assert isinstance(model.optimizer, scaling)
    own = scaling(keras.optimizers.SGD(0.5), initial_scale=8.0)
    Trainer(model, optimizer=own)
    assert model.optimizer is own
    Trainer(model, optimizer="adam")
    assert isinstance(model.optimizer, scaling)
    plain = small_cnn()
    Trainer(plain)
    assert not isinstance(plain.optimizer, scaling)


def overflowing(steps, backend):
    """Scales, and weights after each chunk, of a float16 model whose second batch of three has a huge loss."""
    import keras

    def scaled_error(y_true, y_pred):
        return keras.ops.mean(y_true[:, :1] * keras.ops.square(y_pred - 0.5), axis=-1)

    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="mixed_float16")(hidden))
    model.set_weights([np.full(weight.shape, 0.1) for weight in model.weights])
    model.compile(keras.optimizers.SGD(0.01), scaled_error)
    trainer = Trainer(model)
    y = np.repeat(np.array([1, 1e30, 1], np.float32), 4)[:, None]
    data = Split(points(12).x, y)
    loop = backend.compile_loop(model, device=trainer.device, steps=steps)
    scales, weights = [], [weights_of(model)]
    for at in range(0, 3, steps):
        loop.run(Chunk(data, np.arange(12).reshape(3, 4)[at : at + steps]))
        loop.commit()
        scales.append(float(model.optimizer.dynamic_scale))
        weights.append(weights_of(model))
    assert int(model.optimizer.iterations) == 2
    return scales, weights


def test_an_overflow_costs_one_step_and_halves_the_scale(backend):
    scales, weights = overflowing(1, backend)
    assert scales == [2.0**15, 2.0**14, 2.0**14]
    assert differ(weights[1], weights[0])
    assert_same_weights(weights[2], weights[1])
    assert differ(weights[3], weights[2])
    chunk_scales, chunk_weights = overflowing(3, backend)
    assert chunk_scales == [2.0**14]
    # Half precision has 11 bits; scaling by powers of two loses none, other fusions may.
    assert_same_weights(chunk_weights[-1], weights[-1], 1e-4)


def test_the_precision_is_entered_for_all_that_computes_and_left_again(backend, monkeypatch):
    """A precision that leaks changes what the rest of the program computes."""
    inside: list[str] = []
    seen: list[tuple[str, list[str]]] = []

    @contextmanager
    def entered(policy):
        inside.append(policy.name)
        try:
            yield
        finally:
            inside.pop()

    monkeypatch.setattr(backend, "precision", entered)
    trainer = Trainer(dense())
    for method in ("run", "test", "predict"):
        loop = type(trainer._ready_loop())
        original = getattr(loop, method)
        monkeypatch.setattr(
            loop,
            method,
            lambda self, chunk, method=method, original=original: (
                seen.append((method, list(inside))) or original(self, chunk)
            ),
        )
    trainer.fit(points(4), validation=points(4), batch_size=4, progress="quiet")
    trainer.evaluate(points(4))
    trainer.predict(points(4).x)
    assert seen == [(method, ["float32"]) for method in ("run", "test", "test", "predict")]
    with pytest.raises(RuntimeError, match="stop"):
        trainer.fit(points(4), callbacks=[failing()], progress="quiet")
    assert inside == []


def failing():
    import keras

    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise RuntimeError("stop")

    return Failing()


def test_what_a_model_runs_in_is_what_it_was_built_in(backend, monkeypatch, caplog):
    assert Trainer(small_cnn(precision="mixed_bfloat16")).precision.name == "mixed_bfloat16"
    assert Trainer(small_cnn(precision="mixed_bfloat16"), precision="auto").precision.name == "mixed_bfloat16"
    assert Trainer(dense(), precision="auto").precision.name == "float32"
    assert Trainer(dense()).precision.name == "float32"
    precision.notice.cache_clear()
    monkeypatch.setenv("UNIDL_PRECISION", "mixed_bfloat16")
    with caplog.at_level(logging.INFO, "unidl"):
        assert Trainer(dense()).precision.name == "float32"
    assert "the layers of 'dense' were built in float32" in caplog.text
    assert Trainer(small_cnn()).precision.name == "mixed_bfloat16"
    assert Trainer(small_cnn(precision="float32")).precision.name == "float32"


def test_tf32_is_for_gpus_that_have_it(backend, monkeypatch):
    from unidl import devices
    from unidl.backend import Device

    def placed(capability):
        device = Device("gpu", 0, "Some GPU", compute_capability=capability)
        monkeypatch.setattr(devices, "resolve", lambda request=None: devices.Placement(device, "a test"))
        monkeypatch.setattr(Trainer, "_context", lambda self: contextmanager(lambda: iter([None]))())
        return Trainer(dense(), precision="tf32").precision

    assert placed((8, 0)) == named("tf32")
    with pytest.raises(PrecisionError, match=r"'tf32' on gpu:0: it needs compute capability 8\.0"):
        placed((7, 5))
