"""A precision that an adapter or a reference does not know is refused, and the pure 16-bit ones do what can be done.

Without this a comparison says bfloat16 and measures float32, or a night's training changes no weight.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from training import differ, pictures, points, small_cnn, weights_of

from unidl import Trainer, devices, precision
from unidl.agreement.request import requested_settings as verification
from unidl.backend import Batches, Task
from unidl.compare.request import requested_groups as comparison
from unidl.errors import BackendError, PrecisionError
from unidl.precision import named

UNKNOWN = replace(precision.FLOAT32, name="fp4", products="fp4")
PURE = ("bfloat16", "float16")


def test_the_adapter_refuses_an_arithmetic_that_it_does_not_know(backend):
    """Instead of computing in float32 without a word."""
    words = "cannot compute in precision 'fp4': it does not support 'fp4' .* only float32, tf32. Choose another"
    with pytest.raises(BackendError, match=words), backend.precision(UNKNOWN):
        pass


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (named("mixed_float16"), "it computes in float32, bfloat16, not in float16"),
        (named("float16"), "it computes in float32, bfloat16, not in float16"),
        (named("bfloat16"), "its weights are float32, not bfloat16"),
        (replace(named("mixed_bfloat16"), name="fp8", compute_dtype="float8_e4m3fn"), "not in float8_e4m3fn"),
        (replace(named("mixed_bfloat16"), name="scaled", loss_scaling=True), "it does not support loss scaling"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_reference_refuses_what_it_would_compute_otherwise(backend, row, reason):
    rows = Batches(np.zeros((2, 28, 28, 1), np.float32), np.zeros(2, np.int32))
    task = Task("cnn", {}, rows, 1e-3, devices.resolve().device, row)
    with pytest.raises(BackendError, match=f"There is no reference in {row.name} in .*{reason}"):
        backend.reference(task)


@pytest.mark.parametrize("policy", PURE)
def test_a_pure_model_predicts_and_evaluates(backend, policy):
    model, data = small_cnn(precision=policy), pictures(8)
    assert {str(variable.dtype) for variable in model.weights} == {policy}
    trainer = Trainer(model)
    assert trainer.precision == named(policy)
    probabilities = trainer.predict(data.x)
    assert probabilities.dtype == np.float32
    full = small_cnn(precision="float32")
    full.set_weights([np.asarray(value, np.float32) for value in weights_of(model)])
    np.testing.assert_allclose(probabilities, Trainer(full).predict(data.x), atol=0.02)
    assert np.isfinite(trainer.evaluate(data)["loss"])


def test_float16_is_not_trained_in_and_what_to_use_instead_is_said(backend):
    """Squares of gradients below 2e-4 are 0 in it."""
    model = small_cnn(precision="float16")
    before = weights_of(model)
    words = r"Cannot train in precision 'float16': .*; use 'mixed_float16', .*or 'mixed_bfloat16'\."
    with pytest.raises(PrecisionError, match=words):
        Trainer(model).fit(pictures(8), progress="quiet")
    assert not differ(weights_of(model), before)
    for ask in (
        lambda: verification(None, ["cpu"], ["float16"], ["unidl"]),
        lambda: comparison(
            models=None, backends=None, device="cpu", precisions=["float16"], batch_sizes=None, against=()
        ),
    ):
        with pytest.raises(PrecisionError, match=words):
            ask()


def test_bfloat16_learns_by_steps_that_are_large_enough(backend, caplog):
    """Adam's 0.999 is 1 in it: on every backend Keras's own fit then takes epoch after epoch, and no weight changes."""
    import keras

    precision.notice.cache_clear()
    model, data = small_cnn(precision="bfloat16"), pictures(24)
    with pytest.raises(PrecisionError, match=r"with Adam: its beta_2=0\.999 is rounded to 1 in bfloat16, .*optimizers"):
        Trainer(model).fit(data, progress="quiet")
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(0.3), metrics=[])
    with caplog.at_level(logging.INFO, "unidl"):
        losses = trainer.fit(data, batch_size=8, epochs=4, progress="quiet").history["loss"]
    assert "precision bfloat16: weights have only 8 bits, so an update smaller than 1/512" in caplog.text
    assert losses[-1] < losses[0]
    assert {str(variable.dtype) for variable in model.weights} == {"bfloat16"}


def test_frozen_layers_in_bfloat16_are_in_nobodys_way(backend):
    """A base that only computes may be in any type: what learns is in float32."""
    import keras

    inputs = keras.Input((3,))
    frozen = keras.layers.Dense(4, dtype="bfloat16", trainable=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(frozen))
    losses = Trainer(model, optimizer=keras.optimizers.Adam(0.1), loss="mse").fit(
        points(8), batch_size=8, epochs=3, progress="quiet"
    )
    assert losses.history["loss"][-1] < losses.history["loss"][0]


def test_adam_with_another_beta_is_taken_and_any_in_float32():
    import keras

    precision.require_training(named("bfloat16"), keras.optimizers.Adam(beta_2=0.99))
    for name in ("float32", "mixed_bfloat16", "mixed_float16"):
        precision.require_training(named(name), keras.optimizers.Adam(beta_2=0.9999))


def test_a_pure_model_is_saved_and_comes_back(backend, tmp_path):
    from unidl import load_model

    model = small_cnn(precision="bfloat16")
    trainer = Trainer(model, optimizer="sgd")
    trainer.save(tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert {str(variable.dtype) for variable in again.weights} == {"bfloat16"}
    x = pictures(4).x
    np.testing.assert_array_equal(Trainer(again).predict(x), trainer.predict(x))
