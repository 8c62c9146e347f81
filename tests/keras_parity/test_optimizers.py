"""Every optimizer of Keras, with every option that all of them have, trains here as in Keras's own `fit`.

Without this a model trained here would not be the one that its optimizer describes, and nobody would see it.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import draws, weights_of

from unidl import Trainer, devices, registry

pytestmark = pytest.mark.parity  # the short form has some of them in its table

NAME = registry.current().name

LOSS_TOLERANCE = 1e-4
"""Losses of up to 1 after eight steps, whose sums end in another order here and there."""

STEPS = 8

OPTIMIZERS = {
    "Adadelta": {"learning_rate": 1.0},
    "Adafactor": {},
    "Adagrad": {},
    "Adam": {},
    "Adam with amsgrad": {"amsgrad": True},
    "Adamax": {},
    "AdamW": {},
    "Ftrl": {},
    "Lamb": {},
    "Lion": {"learning_rate": 0.003},
    "LossScaleOptimizer": {},
    "Muon": {},
    "Nadam": {},
    "RMSprop": {},
    "RMSprop with momentum, centered": {"momentum": 0.9, "centered": True, "learning_rate": 0.003},
    "ScheduleFreeAdamW": {},
    "SGD": {"learning_rate": 0.1},
    "SGD with momentum": {"momentum": 0.9},
    "SGD with Nesterov's momentum": {"momentum": 0.9, "nesterov": True},
}
OPTIONS = {
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.02},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "use_ema": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
    "loss_scale_factor": {"loss_scale_factor": 8.0},
    "schedule": {"learning_rate": "schedule"},
}


def optimizer(name, **options):
    import keras

    kinds = keras.optimizers
    options = {"learning_rate": 0.01} | OPTIMIZERS[name] | options
    if options["learning_rate"] == "schedule":
        options["learning_rate"] = kinds.schedules.ExponentialDecay(0.01, 2, 0.5)
    kind = name.split()[0]
    if kind == "LossScaleOptimizer":
        return kinds.LossScaleOptimizer(kinds.SGD(**options), initial_scale=16.0, dynamic_growth_steps=3)
    return getattr(kinds, kind)(**options)


def model_of(made):
    """Two layers; the kernel of the first one lies as orthogonal initial weights lie."""
    import keras

    inputs = keras.Input((3,))
    values = keras.layers.Dense(5, activation="tanh", kernel_initializer=keras.initializers.Orthogonal(seed=0))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(1))(values))
    model.compile(made, "mse")
    return model


def rows():
    x = draws().normal(size=(16, 3)).astype(np.float32)
    return x, np.stack((np.sin(x).sum(axis=1), x[:, 0]), axis=1).astype(np.float32)


def assert_trains_as_in_keras(make, backend):
    ours, theirs = model_of(make()), model_of(make())
    if NAME == "tensorflow":
        # Built by `fit`, inside a tf.function, ScheduleFreeAdamW begins from zeros there, not from the weights.
        theirs.optimizer.build(theirs.trainable_variables)
    x, y = rows()
    with backend.on(devices.resolve().device):
        expected = theirs.fit(x, y, batch_size=len(x), epochs=STEPS, verbose=0).history["loss"]
    trainer = Trainer(ours)
    found = trainer.fit((x, y), batch_size=len(x), epochs=STEPS, progress="quiet").history["loss"]
    np.testing.assert_allclose(found, expected, atol=LOSS_TOLERANCE)
    for one, other in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=LOSS_TOLERANCE)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_trains_as_in_keras(name, backend):
    assert_trains_as_in_keras(lambda: optimizer(name), backend)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["Adam", "SGD with momentum"])
def test_each_option_means_what_it_means_in_keras(name, option, backend):
    assert_trains_as_in_keras(lambda: optimizer(name, **OPTIONS[option]), backend)
