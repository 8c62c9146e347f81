"""A learning rate for each layer: without this a fine-tuned base forgets what it has learned, or learns nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, dense, pictures, points, small_cnn, weights_of

from unidl import Trainer, build_transfer, unfreeze
from unidl.errors import ModelError, UsageError
from unidl.training.layer_rates import LayerRates

STEPS, BATCH = 20, 4
OPTIMIZERS = {
    "Adadelta": {"learning_rate": 1.0},
    "Adafactor": {"learning_rate": 0.05},
    "Adagrad": {"learning_rate": 0.05},
    "Adam": {"learning_rate": 0.02},
    "AdamW": {"learning_rate": 0.02, "weight_decay": 0.1},
    "Adamax": {"learning_rate": 0.02},
    "Ftrl": {"learning_rate": 0.05},
    "Lamb": {"learning_rate": 0.02},
    "Lion": {"learning_rate": 0.01, "weight_decay": 0.1},
    "Muon": {"learning_rate": 0.02, "adam_weight_decay": 0.1},
    "Nadam": {"learning_rate": 0.02},
    "RMSprop": {"learning_rate": 0.02, "momentum": 0.5},
    "SGD": {"learning_rate": 0.1, "momentum": 0.9},
    "ScheduleFreeAdamW": {"learning_rate": 0.02},
}

EACH = [name if name in ("AdamW", "Nadam") else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS]
"""One of each kind; the others take their time."""


def made(name, **options):
    import keras

    if not hasattr(keras.optimizers, name):
        pytest.skip(f"this Keras has no {name}")
    return getattr(keras.optimizers, name)(**OPTIMIZERS[name] | options)


def trained(optimizer, *, steps=STEPS, model=None, **rates):
    """A model of two dense layers after so many steps."""
    trainer = Trainer(model or dense(), optimizer=optimizer, **rates)
    trainer.fit(points(BATCH * steps), batch_size=BATCH, shuffle=False, progress="quiet")
    return trainer


def by_hand(update, factors):
    """The weights of `dense` after the same steps, in NumPy. update: (weight, gradient, state, factor, step)."""
    data, model = points(BATCH * STEPS), dense()
    weights = [weight.astype(np.float64) for weight in weights_of(model)]
    states = [{"m": np.zeros(weight.shape), "v": np.zeros(weight.shape)} for weight in weights]
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        x, y = data.x[rows], data.y[rows]
        hidden = np.tanh(x @ weights[0] + weights[1])
        error = 2 * (hidden @ weights[2] + weights[3] - y) / len(x)
        before = (error @ weights[2].T) * (1 - hidden**2)
        gradients = [x.T @ before, before.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        for place, gradient in enumerate(gradients):
            weights[place] = update(weights[place], gradient, states[place], factors[place], step + 1)
    return weights


def adam(weight, gradient, state, factor, step, *, rate=0.02, decay=0.0):
    """Kingma & Ba, 2015, with epsilon as Keras has it; the decay of Loshchilov & Hutter, 2019."""
    weight = weight - weight * decay * rate * factor
    state["m"] += (gradient - state["m"]) * (1 - 0.9)
    state["v"] += (gradient**2 - state["v"]) * (1 - 0.999)
    size = rate * factor * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return weight - size * state["m"] / (np.sqrt(state["v"]) + 1e-7)


def momentum(weight, gradient, state, factor, step):
    state["m"] = 0.9 * state["m"] - 0.1 * factor * gradient
    return weight + state["m"]


@pytest.mark.parametrize(
    ("name", "update"),
    [("Adam", adam), ("AdamW", lambda *given: adam(*given, decay=0.1)), ("SGD", momentum)],
)
def test_the_update_and_the_decay_are_scaled(backend, name, update):
    """The same numbers on every backend, since they are those of the rule itself: 20 steps, a factor a layer."""
    trainer = trained(made(name), rate_factors={"first": 0.1, "last": 2.0})
    assert trainer.why_not_compiled is None
    found = weights_of(trainer.model)
    expected = by_hand(update, (0.1, 0.1, 2.0, 2.0))
    assert_same_weights(found, [weight.astype(np.float32) for weight in expected], tolerance=FLOAT32)
    plain = weights_of(trained(made(name)).model)
    assert np.abs(plain[0] - found[0]).max() > 1e-2


@pytest.mark.parametrize("name", EACH)
def test_factors_of_1_change_no_bit_and_0_is_a_frozen_layer(backend, name):
    plain = trained(made(name), steps=6)
    ones = trained(made(name), steps=6, rate_factors={"first": 1.0}, layer_decay=1.0)
    assert_same_weights(weights_of(ones.model), weights_of(plain.model))
    start = weights_of(dense())
    none = trained(made(name), steps=6, rate_factors={"first": 0})
    model = dense()
    model.get_layer("first").trainable = False
    frozen = trained(made(name), steps=6, model=model)
    assert_same_weights(weights_of(none.model)[:2], start[:2])
    assert_same_weights(weights_of(none.model)[2:], weights_of(frozen.model)[2:], tolerance=1e-6)
    assert np.abs(weights_of(none.model)[2] - start[2]).max() > 1e-4


@pytest.mark.parametrize("name", EACH)
def test_the_same_factor_for_all_is_another_learning_rate(backend, name):
    """Every optimizer of Keras follows a factor, also those with a state for all weights at once, such as Nadam: two
    groups, whose factors are the same but for their last bit."""
    rate = OPTIMIZERS[name]["learning_rate"]
    expected = trained(made(name, learning_rate=rate / 2), steps=6)
    found = trained(made(name), steps=6, rate_factors={"first": 0.5, "last": 0.5 + 1e-15})
    assert_same_weights(weights_of(found.model), weights_of(expected.model), tolerance=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"clipnorm": 0.1, "use_ema": True}, {"global_clipnorm": 0.1, "gradient_accumulation_steps": 2}, "schedule"],
)
def test_what_else_an_optimizer_does_goes_on(backend, options):
    """Beside the plain optimizer with half the rate; and a layer with the factor 0 keeps its bits."""
    import keras

    def optimizer(rate):
        if options == "schedule":
            return made("Adam", learning_rate=keras.optimizers.schedules.CosineDecay(rate, 30))
        return made("Adam", learning_rate=rate, **options)

    expected = trained(optimizer(0.01), steps=7)
    found = trained(optimizer(0.02), steps=7, rate_factors={"first": 0.5, "last": 0.5})
    assert_same_weights(weights_of(found.model), weights_of(expected.model), tolerance=1e-6)
    none = trained(optimizer(0.02), steps=7, rate_factors={"first": 0})
    assert_same_weights(weights_of(none.model)[:2], weights_of(dense())[:2])


def test_loss_scaling_has_the_rates_inside(backend):
    import keras

    optimizer = keras.optimizers.LossScaleOptimizer(made("Adam"), initial_scale=4.0)
    found = trained(optimizer, rate_factors={"first": 0.1, "last": 2.0})
    expected = by_hand(adam, (0.1, 0.1, 2.0, 2.0))
    assert_same_weights(weights_of(found.model), [weight.astype(np.float32) for weight in expected], FLOAT32)


def transfer():
    import keras

    base = small_cnn(batch_normalization=True)
    model = build_transfer(base, classes=4, dense_units=8)
    unfreeze(model)
    assert isinstance(model, keras.Model)
    return model


def factors(model, **rates):
    found = LayerRates.of(rates.get("rate_factors"), rates.get("layer_decay"))
    values = found.of_weights(model)
    return dict(zip([weight.path for weight in model.trainable_weights], values, strict=True))


def test_a_name_a_path_and_a_block_name_layers(backend):
    model = transfer()
    found = factors(model, rate_factors={"conv": 0.1, "conv_2": 0.3, "dense": 2})
    assert sorted(set(found.values())) == [0.1, 0.3, 1.0, 2.0]
    assert {value for path, value in found.items() if "conv_1" in path} == {0.1}
    assert {value for path, value in found.items() if "conv_2" in path} == {0.3}
    whole = factors(model, rate_factors={"cnn": 0.5})
    assert {value for path, value in whole.items() if "conv" in path} == {0.5}
    assert {value for path, value in whole.items() if "conv" not in path} == {1.0}


def test_the_rate_decays_from_the_outputs_to_the_inputs(backend):
    found = factors(transfer(), layer_decay=0.5, rate_factors={"conv_1": 3.0})
    by_layer = {path.split("/")[-2]: value for path, value in found.items()}
    assert by_layer == {"conv_1": 0.375, "conv_2": 0.25, "dense": 0.5, "logits": 1.0}


def test_rates_stay_when_layers_are_set_free(backend):
    """A new optimizer is made then, from what the old one says of itself."""
    model = build_transfer(small_cnn(), classes=4, dense_units=8)
    options = {"epochs": 1, "batch_size": 8, "progress": "quiet"}
    Trainer(model, optimizer=made("Adam"), rate_factors={"conv_1": 0}).fit(pictures(16), **options)
    unfreeze(model)
    before = [np.array(weight) for weight in model.trainable_weights]
    trainer = Trainer(model)
    trainer.fit(pictures(16), **options)
    moved = {
        weight.path: bool(np.abs(np.array(weight) - old).max() > 0)
        for weight, old in zip(model.trainable_weights, before, strict=True)
    }
    assert not any(moved[path] for path in moved if "conv_1" in path)
    assert all(moved[path] for path in moved if path.endswith("kernel") and "conv_1" not in path)
    assert trainer.describe()["fit"]["rate_factors"] == {"conv_1": 0.0}
    Trainer(model, rate_factors={}).fit(pictures(16), **options)
    assert np.abs(np.array(model.trainable_weights[0]) - before[0]).max() > 0


def test_rates_go_through_a_checkpoint_and_other_rates_are_another_run(backend, tmp_path):
    rates = {"rate_factors": {"first": 0.1}, "layer_decay": 0.5}

    def trainer(**rates):
        return Trainer(dense(dropout=0.3), optimizer=made("AdamW"), **rates)

    options = {"batch_size": BATCH, "progress": "quiet"}
    whole = trainer(**rates)
    whole.fit(points(22), epochs=3, **options)
    trainer(**rates).fit(points(22), epochs=2, checkpoint=tmp_path / "c", **options)
    found = trainer(**rates)
    found.fit(points(22), epochs=3, checkpoint=tmp_path / "c", resume=True, **options)
    assert_same_weights(weights_of(found.model), weights_of(whole.model))
    with pytest.raises(UsageError, match=r"layer_decay was 0\.5 there, and is None now"):
        trainer(rate_factors={"first": 0.1}).fit(points(22), checkpoint=tmp_path / "c", resume=True, **options)
    found.save(tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["fit"]
    assert (kept["rate_factors"], kept["layer_decay"]) == ({"first": 0.1}, 0.5)


def test_a_file_of_keras_keeps_them(backend, tmp_path):
    """And a plain `fit` of Keras goes by them."""
    import keras

    model = trained(made("Adam"), steps=2, rate_factors={"first": 0}).model
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    before = weights_of(again)
    again.fit(points(12).x, points(12).y, verbose=0)
    assert_same_weights(weights_of(again)[:2], before[:2])
    assert np.abs(weights_of(again)[2] - before[2]).max() > 0


@pytest.mark.parametrize(
    ("rates", "error", "said"),
    [
        ({"rate_factors": {"frist": 0.1}}, ModelError, "no layer, and no block of layers, of that name.*'first'"),
        ({"rate_factors": {"first": -1}}, UsageError, r"rate_factors=\{'first': -1\}: .* at least 0"),
        ({"rate_factors": 0.1}, UsageError, "must be a dict"),
        ({"rate_factors": {"first": 0, "last": 0}}, ModelError, "every layer of 'dense' that learns is 0"),
        ({"layer_decay": 0}, UsageError, "layer_decay=0: it must be a number above 0"),
        ({"layer_decay": 1.5}, UsageError, "at most 1"),
    ],
)
def test_rates_that_cannot_be_say_what_can(backend, rates, error, said):
    with pytest.raises(error, match=said):
        Trainer(dense(), **rates)


def test_an_optimizer_that_goes_its_own_way_is_refused(backend):
    """Its updates would not be scaled, and nobody would notice."""
    import keras

    class Own(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            super().apply(grads, trainable_variables)

    with pytest.raises(ModelError, match="its class Own has a method apply of its own"):
        Trainer(dense(), optimizer=Own(0.1), layer_decay=0.5)
    both = keras.optimizers.MultiOptimizer(lambda variable: made("SGD"))
    with pytest.raises(ModelError, match="stands for several optimizers"):
        Trainer(dense(), optimizer=both, layer_decay=0.5)


def test_an_optimizer_of_a_person_with_an_update_of_its_own_follows(backend):
    import keras

    class Signs(keras.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, keras.ops.sign(gradient) * learning_rate)

    start = weights_of(dense())
    found = weights_of(trained(Signs(0.5), steps=1, rate_factors={"first": 0.25}).model)
    np.testing.assert_allclose(np.abs(found[0] - start[0]), 0.125, rtol=1e-5)
    np.testing.assert_allclose(np.abs(found[2] - start[2]), 0.5, rtol=1e-5)
