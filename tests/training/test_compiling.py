"""`Trainer(model)` takes any model: ours as it is, a compiled one as it was compiled, another with a loss."""

from __future__ import annotations

import numpy as np
import pytest
from training import FLOAT32, dense, draws, pictures, points, small_cnn, small_lstm

from unidl import Trainer
from unidl.data import Split
from unidl.errors import BackendError, ModelError, PrecisionError, UnidlError


def custom():
    """A model that is not compiled."""
    import keras

    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


def metric_names(model, data):
    """What a run of the model reports."""
    return set(Trainer(model).evaluate(data, batch_size=8))


def test_a_custom_model_without_a_loss_is_refused(backend):
    """Guessing a loss would train something else than was meant."""
    with pytest.raises(ModelError, match=r"(?s)is not compiled.*Trainer\(model, loss='sparse"):
        Trainer(custom()).fit(points(4))
    with pytest.raises(ModelError, match="is not compiled"):
        Trainer(custom(), optimizer="sgd", metrics=["mse"])


def test_a_custom_model_needs_a_loss_only(backend):
    import keras

    model = custom()
    Trainer(model, loss="mean_absolute_error")
    assert model.loss == "mean_absolute_error"
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_our_models_need_nothing(backend):
    """The README's first lines: build, train."""
    cnn, regression = small_cnn(), small_lstm(targets=2)
    Trainer(cnn)
    assert cnn.loss == "sparse_categorical_crossentropy"
    assert metric_names(cnn, pictures(8)) == {"loss", "accuracy"}
    trainer = Trainer(regression)
    data = Split(np.ones((8, 6), np.int32), draws().normal(size=(8, 2)))
    found = trainer.evaluate(data)
    errors = trainer.predict(data.x) - data.y
    expected = {"loss": float(np.mean(errors**2)), "mean_absolute_error": float(np.abs(errors).mean())}
    assert found == pytest.approx(expected, rel=FLOAT32)
    custom = small_cnn()
    Trainer(custom, metrics=["sparse_categorical_crossentropy"])
    assert metric_names(custom, pictures(8)) == {"loss", "sparse_categorical_crossentropy"}


def test_a_compiled_model_is_left_alone(backend):
    model = dense()
    before = (model.optimizer, model.loss, model._loss_tracker)
    Trainer(model)
    assert (model.optimizer, model.loss, model._loss_tracker) == before


def test_another_optimizer_keeps_loss_weights_and_metrics(backend):
    """Accuracy that vanishes from the reports because of a new optimizer is noticed after the run."""
    import keras

    class Mine(keras.metrics.Mean):
        """Keras's description of a compiled model cannot say this one."""

        def __init__(self, scale):
            super().__init__(name="mine")
            self.scale = scale

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(self.scale * y_pred)

    def by_hand(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))

    model = dense(
        loss=by_hand,
        metrics=["mae", Mine(2.0), by_hand],
        weighted_metrics=["mse"],
        loss_weights=3.0,
        run_eagerly=True,
    )
    found = Trainer(model).evaluate(points(8))
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(0.5))
    assert trainer.evaluate(points(8)) == pytest.approx(found)
    assert set(found) == {"loss", "mae", "mine", "by_hand", "mse"}
    assert found["loss"] == pytest.approx(3 * found["mae"], rel=FLOAT32)
    assert float(model.optimizer.learning_rate) == 0.5
    assert trainer.why_not_compiled is not None


def test_another_loss_keeps_optimizer_and_metrics(backend):
    model = dense(metrics=["mse"], loss_weights=3.0)
    optimizer = model.optimizer
    found = Trainer(model, loss="mean_absolute_error").evaluate(points(8))
    assert model.optimizer is optimizer
    assert set(found) == {"loss", "mse"}
    expected = float(np.abs(Trainer(model).predict(points(8).x) - points(8).y).mean())
    assert found["loss"] == pytest.approx(expected, rel=FLOAT32)


def test_a_compile_method_of_its_own_is_the_users_to_call(backend):
    import keras

    class Adversary(keras.Model):
        def compile(self, critic, **options):
            super().compile(**options)
            self.critic = critic

    inputs = keras.Input((3,))
    model = Adversary(inputs, keras.layers.Dense(1)(inputs))
    with pytest.raises(ModelError, match="Adversary overrides compile"):
        Trainer(model, optimizer="sgd", loss="mse")
    model.compile("critic", optimizer="sgd", loss="mse")
    Trainer(model).fit(points(4), progress="quiet")
    assert model.critic == "critic"


def test_a_model_without_trainable_weights_is_refused(backend):
    """Training would run to its end and change nothing."""
    model = dense()
    model.trainable = False
    model.compile("sgd", "mse")
    trainer = Trainer(model)
    with pytest.raises(ModelError, match="'dense' has no trainable weights"):
        trainer.fit(points(4), progress="quiet")
    assert trainer.evaluate(points(4))["loss"] > 0
    assert trainer.predict(points(4).x).shape == (4, 1)


def test_a_model_compiled_without_an_optimizer_is_refused(backend):
    model = dense(optimizer=None)
    trainer = Trainer(model)
    assert trainer.evaluate(points(4))["loss"] > 0
    with pytest.raises(ModelError, match="compiled without an optimizer"):
        trainer.fit(points(4), progress="quiet")
    Trainer(model, optimizer="sgd").fit(points(4), progress="quiet")


def test_an_optimizer_of_another_model_is_refused(backend):
    """Keras's error speaks of unknown variables on two backends and of list lengths on the third."""
    first = dense()
    Trainer(first).fit(points(4), progress="quiet")
    with pytest.raises(ModelError, match="with a new optimizer"):
        Trainer(dense(), optimizer=first.optimizer).fit(points(4), progress="quiet")


def test_an_adapter_that_cannot_train_says_so(backend, monkeypatch):
    from unidl import registry

    class Computes:
        name = "calculator"

    monkeypatch.setattr(registry, "current", Computes)
    with pytest.raises(BackendError, match="'calculator' cannot train"):
        Trainer(dense())


@pytest.mark.parametrize(("option", "value"), [("device", "tpu"), ("precision", "float8")])
def test_impossible_policies_are_told_at_once(backend, option, value):
    with pytest.raises(UnidlError, match=f"Cannot use {option}='{value}'. Allowed"):
        Trainer(dense(), **{option: value})


def test_a_precision_that_contradicts_the_layers_is_refused(backend):
    with pytest.raises(PrecisionError, match=r"(?s)built in float32.*Build the model with precision='mixed_bfloat16'"):
        Trainer(dense(), precision="mixed_bfloat16")
    with pytest.raises(
        PrecisionError, match=r"(?s)built in 'mixed_bfloat16'.*Build the model again with precision='float32'"
    ):
        Trainer(small_cnn(precision="mixed_bfloat16"), precision="float32")
