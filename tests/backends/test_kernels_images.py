"""Pooling right behind a convolution may go before its bias and its ReLU, and trains as Keras trains it.

Without this a shortcut taken where it does not hold would change what a model learns.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, draws, weights_of

from unidl import Trainer, build_cnn, devices, registry
from unidl.errors import DataError, TrainingError
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later
from unidl.precision import named

registry.current()  # decides on Keras's backend before anything imports Keras

CLASSES = 3
BFLOAT16 = 1e-2
"""Numbers of eight bits, and sums of them in another order."""


def pooled(maps):
    """What each pooling that Keras has makes of the same maps."""
    import keras

    layers = keras.layers
    kinds = (
        layers.MaxPooling2D(2),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.MaxPooling2D((1, 2), strides=1),
        layers.AveragePooling2D(2),
        layers.GlobalMaxPooling2D(),
    )
    flat = [layers.Flatten()(layer(maps)) for layer in kinds]
    return layers.Concatenate()(flat)


def with_a_shortcut(maps):
    """The maps themselves as well, as in a U-Net: their gradients meet those of the pooling."""
    import keras

    layers = keras.layers
    return layers.Flatten()(layers.Concatenate()([layers.UpSampling2D(2)(layers.MaxPooling2D(2)(maps)), maps]))


def pooled_twice(maps):
    import keras

    layers = keras.layers
    return layers.Flatten()(layers.MaxPooling2D(2)(layers.MaxPooling2D(2)(maps)))


def flat_series(maps):
    import keras

    layers = keras.layers
    series = layers.Conv1D(4, 3, padding="causal", activation="relu")(layers.Reshape((64, -1))(maps))
    return layers.Flatten()(layers.MaxPooling1D(3)(series))


@drawn_later()  # since `initialise` draws all: JAX takes long over what Keras draws
def model_of(read, options):
    import keras

    images = keras.Input((8, 8, 2))
    maps = keras.layers.Conv2D(4, 3, padding="same", **{"activation": "relu"} | options)(images)
    model = keras.Model(images, keras.layers.Dense(CLASSES, activation="softmax")(read(maps)))
    initialise(model, seed=0)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model


def rows():
    given = draws()
    return given.normal(size=(24, 8, 8, 2)).astype(np.float32), given.integers(CLASSES, size=24)


@pytest.mark.parametrize(
    ("read", "options"),
    [
        (pooled, {}),
        (pooled_twice, {}),
        (with_a_shortcut, {}),
        (flat_series, {}),
        (pooled, {"activation": "tanh"}),
        (pooled, {"use_bias": False}),
        (pooled_twice, {"activity_regularizer": "l2"}),
        (pooled_twice, {"dtype": "mixed_bfloat16"}),
    ],
)
def test_convolutions_before_poolings_train_as_in_keras(read, options, backend):
    models = [model_of(read, options) for _ in range(2)]
    assert all(np.isfinite(weight).all() for weight in weights_of(models[0]))
    x, y = rows()
    found = Trainer(models[0]).fit((x, y), batch_size=8, epochs=2, shuffle=False, progress="quiet").history
    with backend.on(devices.resolve().device):
        expected = models[1].fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    narrow = options.get("dtype") == "mixed_bfloat16"
    if narrow and devices.resolve().device.kind == "gpu":
        # It sums in an order of its own: of two neighbours that round to the same number here, one is the larger there,
        # and the gradient goes to the other weight.
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=named("mixed_bfloat16").loss_tolerance)
        return
    assert_same_weights(weights_of(models[0]), weights_of(models[1]), BFLOAT16 if narrow else FLOAT32)


def test_what_is_no_number_is_not_hidden(backend):
    """A ReLU that makes 0 of NaN turns a broken image, or a network that has diverged, into an unsure answer."""
    import keras

    images = np.random.default_rng(0).random((4, 18, 18, 1), dtype=np.float32)
    images[2] = np.nan
    labels = np.arange(4) % CLASSES
    model = build_cnn((18, 18, 1), CLASSES, filters=(4, 4), dense_units=4)
    trainer = Trainer(model)
    if np.isfinite(model.predict(images, verbose=0)).all():  # of JAX's own making, and the same in our loop
        assert np.isfinite(trainer.predict(images)).all()
    else:
        with pytest.raises(DataError, match="nan in row 2"):
            trainer.predict(images)
        with pytest.raises(DataError, match="nan in row 2"):
            trainer.evaluate(images, labels)
    with pytest.raises(DataError, match="nan in row 2"):
        trainer.fit(images, labels, progress="quiet")
    model.layers[1].kernel.assign(model.layers[1].kernel * np.nan)
    images = np.nan_to_num(images)
    # A first step may only make the weights NaN, as where JAX makes 0 of NaN on the way forward.
    with pytest.raises(TrainingError, match="became nan"):
        trainer.fit(images, labels, epochs=2, batch_size=2, progress="quiet")
    assert not np.isfinite(keras.ops.convert_to_numpy(model.layers[1].kernel)).all()
