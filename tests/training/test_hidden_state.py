"""What a step reads besides weights and batches: values of Python's, and variables that nobody lists.

A compiled step that keeps one of them as it was in the first batch trains another model, without a word. Expected is
what `keras.Model.fit` gives on the backend under test.
"""

from __future__ import annotations

import logging

import numpy as np
import pytest
from training import draws, weights_of

from unidl import Trainer, registry

registry.current()

import keras  # noqa: E402  (only now is its backend decided)
from keras import ops  # noqa: E402

ON_TORCH = registry.choice()[0].name == "torch"


class CountingLoss(keras.losses.Loss):
    """Weighs the n-th batch with n, in a variable of its own."""

    def __init__(self):
        super().__init__(name="counting")
        self.batches = keras.Variable(0.0, trainable=False, name="batches")

    def call(self, y_true, y_pred):
        self.batches.assign(self.batches + 1.0)
        return self.batches * ops.mean(ops.square(y_true - y_pred), axis=-1)


class Scale(keras.layers.Layer):
    beta = 1.0

    def call(self, inputs):
        return inputs * self.beta


class Named:
    def __init__(self, beta):
        self.beta = beta


class ScaleOfSettings(keras.layers.Layer):
    """Its value is in an object of its own, as those of a settings class are."""

    def __init__(self, **options):
        super().__init__(**options)
        self.settings = Named(1.0)
        self.factors = [1.0, 2.0]

    def call(self, inputs):
        return inputs * self.settings.beta * self.factors[0]


class Penalty(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(3.0 * ops.mean(ops.square(inputs)))
        return inputs


class CountingLayer(keras.layers.Layer):
    """Counts its calls in Python."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs * float(self.calls)


class CaughtLayer(keras.layers.Layer):
    """Reads a value, and catches what goes wrong."""

    def call(self, inputs):
        try:
            scale = float(np.asarray(ops.convert_to_numpy(ops.mean(inputs))))
        except Exception:  # noqa: BLE001 - as people do around a fast path
            scale = 0.0
        return inputs + scale


class PercentileLayer(keras.layers.Layer):
    """Computes with NumPy."""

    def call(self, inputs):
        return inputs / (1.0 + float(np.percentile(inputs.detach().cpu().numpy(), 75)))


class DataLayer(keras.layers.Layer):
    """Reads through the second name that PyTorch has for a tensor."""

    def call(self, inputs):
        return inputs * inputs.data.mean()


class AtEpoch(keras.callbacks.Callback):
    """Changes something before each epoch but the first."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            self.change(self.model, epoch)


def model_with(layer=None, *, loss="mse", metrics=None, rate=0.05, features=3):
    inputs = keras.Input((features,), name="x")
    values = keras.layers.Dense(4, activation="tanh", name="first")(inputs)
    values = values if layer is None else layer(values)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(values))
    drawn = draws(3)
    for weight in model.trainable_weights:
        weight.assign(drawn.normal(scale=0.5, size=weight.shape))
    model.compile(keras.optimizers.SGD(rate), loss, metrics=metrics)
    return model


def data(rows=32, features=3):
    drawn = draws(1)
    x = drawn.normal(size=(rows, features)).astype(np.float32)
    return x, drawn.normal(size=(rows, 1)).astype(np.float32)


def both(build, change=None, *, epochs=4, batches=None):
    """The histories and weights of Keras's fit and of ours, and our trainer."""
    x, y = batches or data()
    callbacks = [] if change is None else [AtEpoch(change)]
    expected = build()
    history = expected.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks).history
    model = build()
    trainer = Trainer(model)
    callbacks = [] if change is None else [AtEpoch(change)]
    trainer.fit((x, y), batch_size=8, epochs=epochs, shuffle=False, callbacks=callbacks, progress="quiet")
    for name, values in history.items():
        np.testing.assert_allclose(trainer.history[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    for one, other in zip(weights_of(model), weights_of(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    return trainer, history


def test_a_loss_that_counts_in_a_variable_of_its_own_counts_on():
    trainer, history = both(lambda: model_with(loss=CountingLoss()))
    assert trainer.why_not_compiled is None
    if ON_TORCH:
        assert history["loss"][-1] > 5 * history["loss"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, epoch: setattr(model.layers[2], "beta", 1.0 + epoch),
        lambda model, epoch: setattr(model.get_layer("last"), "trainable", epoch % 2 == 0),
    ][: 2 if ON_TORCH else 1],  # elsewhere freezing between epochs is refused
    ids=["attribute", "trainable"][: 2 if ON_TORCH else 1],
)
def test_a_value_that_a_callback_changes_counts_as_it_does_in_keras(change):
    both(lambda: model_with(Scale()), change)


@pytest.mark.parametrize(
    "change",
    [
        lambda model, epoch: setattr(model.layers[2].settings, "beta", 1.0 + epoch),
        lambda model, epoch: model.layers[2].factors.__setitem__(0, 1.0 + epoch),
    ],
    ids=["of an object", "of a list"],
)
def test_a_value_inside_of_an_attribute_counts_as_it_does_in_keras(change):
    both(lambda: model_with(ScaleOfSettings()), change)


def test_the_rate_of_a_dropout_may_change_between_epochs():
    """At rate 0 nothing is dropped: the losses of the same weights are then the same for every batch of zeros."""
    import unidl.layers

    x, y = np.ones((32, 3), np.float32), np.zeros((32, 1), np.float32)
    model = model_with(unidl.layers.Dropout(0.5, seed=1), rate=0.0)
    trainer = Trainer(model)
    turn_off = AtEpoch(lambda model, epoch: setattr(model.layers[2], "rate", 0.0))
    trainer.fit((x, y), batch_size=8, epochs=4, shuffle=False, callbacks=[turn_off], progress="quiet")
    undropped = float(trainer.evaluate((x, y))["loss"])
    later = trainer.history["loss"][1:]
    assert (np.allclose(later, undropped, rtol=1e-5)) == ON_TORCH


@pytest.mark.parametrize("weight", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("own", [True, False])
def test_losses_that_layers_add_are_trained(own, weight):
    """A penalty too small for a comparison of steps is lost the more silently."""

    def build():
        layer = (
            Penalty() if own else keras.layers.Activation("relu", activity_regularizer=keras.regularizers.L1(weight))
        )
        return model_with(layer)

    trainer, _ = both(build)
    assert trainer.why_not_compiled is None


@pytest.mark.parametrize("padded", [1, 4])
def test_metrics_count_what_a_mask_leaves(padded):
    """One padded step among many changes an accuracy so little that a comparison of steps would not see it."""
    drawn = draws(2)
    x, y = drawn.integers(1, 9, (32, 8)), drawn.integers(0, 3, (32, 8))
    x[:, 8 - padded :] = 0

    def build():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.Dense(3, activation="softmax")]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    trainer, _ = both(build, batches=(x, y))
    assert trainer.why_not_compiled is None


def test_where_a_compiled_step_does_not_follow_a_person_is_told(caplog):
    """As in Keras, but not without a word."""
    from unidl import notices

    notices.notice.cache_clear()
    with caplog.at_level(logging.INFO, "unidl"):
        both(lambda: model_with(Scale()), lambda model, epoch: setattr(model.layers[2], "beta", 1.0 + epoch))
        both(lambda: model_with(loss=CountingLoss()))
    assert ("beta of the layer" in caplog.text) == (not ON_TORCH)
    assert caplog.text.count("has changed since the steps were compiled") <= 1
    assert ("'batches' is not tracked" in caplog.text) == (registry.choice()[0].name == "jax")


class Ending(keras.callbacks.Callback):
    """Ends the process of training before an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise SystemExit


def test_a_run_that_goes_on_counts_on_where_it_stopped(tmp_path):
    """The counter of a loss is in no list of Keras's; without it the run goes on from other weights than it had."""
    whole = model_with(loss=CountingLoss())
    arguments = {"batch_size": 8, "epochs": 4, "progress": "quiet"}
    Trainer(whole).fit(data(), **arguments)
    folder = tmp_path / "run.checkpoints"
    with pytest.raises(SystemExit):
        Trainer(model_with(loss=CountingLoss())).fit(data(), callbacks=[Ending()], checkpoint=folder, **arguments)
    resumed = model_with(loss=CountingLoss())
    Trainer(resumed).fit(data(), checkpoint=folder, resume=True, **arguments)
    for one, other in zip(weights_of(resumed), weights_of(whole), strict=True):
        np.testing.assert_array_equal(one, other)


if ON_TORCH:

    def test_a_layer_that_counts_its_calls_in_python_is_not_traced():
        """Nor does the trial count: the model trains as in Keras."""
        trainer, _ = both(lambda: model_with(CountingLayer(), rate=0.001))
        assert "changes calls of the layer" in str(trainer.why_not_compiled)

    @pytest.mark.parametrize("layer", [CaughtLayer, PercentileLayer])
    def test_a_value_read_in_python_keeps_a_step_from_being_traced(layer):
        """In a trace it would be a constant: another batch trains as the first one did."""
        trainer, _ = both(lambda: model_with(layer()))
        assert "reads tensor values in Python (" in str(trainer.why_not_compiled)
        assert "\n" not in str(trainer.why_not_compiled)

    def test_a_metric_computed_by_numpy_is_that_of_each_batch():
        import torch

        def spread(y_true, y_pred):
            return torch.tensor(float(np.ptp(y_true.cpu().numpy())))

        trainer, _ = both(lambda: model_with(metrics=[spread]))
        assert "in Python" in str(trainer.why_not_compiled)

    def test_a_constant_may_be_read():
        """What depends on no batch and no variable is the same in each step."""

        class Fixed(keras.layers.Layer):
            def call(self, inputs):
                return inputs * float(ops.convert_to_numpy(ops.ones((2,)))[0])

        trainer, _ = both(lambda: model_with(Fixed()))
        assert trainer.why_not_compiled is None

    def test_the_second_name_of_a_tensor_is_no_constant():
        trainer, _ = both(lambda: model_with(DataLayer()))
        assert trainer.why_not_compiled is None

    def test_a_trace_that_knows_only_its_own_batch_is_found_out():
        """On the batch that it was made of, whatever it holds as a constant agrees."""
        import torch

        class Global(keras.layers.Layer):
            def call(self, inputs):
                held.append(float(len(held)))
                return inputs * torch.tensor(held[-1])

        held: list[float] = []
        model = model_with(Global())
        trainer = Trainer(model)
        trainer.fit(data(), batch_size=8, epochs=2, shuffle=False, progress="quiet")
        assert "differently than Keras" in str(trainer.why_not_compiled)

    def test_what_cannot_be_traced_is_said_in_a_sentence():
        class Branching(keras.layers.Layer):
            def call(self, inputs):
                return inputs if inputs.sum() > 0 else -inputs

        trainer, _ = both(lambda: model_with(Branching()))
        assert "reads tensor values in Python (bool)" in str(trainer.why_not_compiled)
