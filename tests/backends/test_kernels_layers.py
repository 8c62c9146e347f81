"""Layers in a state that a kernel was not made for, or whose weights lie otherwise in memory, train as in Keras.

Without this a kernel that looks at a layer would break it, or train another one, where Keras trains.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from training import draws

from unidl import Trainer, devices, registry
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later

registry.current()  # decides on Keras's backend before anything imports Keras

STEPS = 6
LOSS_TOLERANCE = 1e-4


def convolution_with_lora(layers):
    layer = layers.Conv2D(4, 3, activation="relu")
    layer.build((None, 6, 6, 3))
    layer.enable_lora(2)
    return [layer, layers.Flatten()]


def convolution_without_bias(layers):
    return [layers.Conv2D(4, 3, use_bias=False, kernel_initializer="orthogonal"), layers.Flatten()]


def standardized_convolution(layers):
    """Its kernel is computed in each step."""
    import keras

    class Standardized(layers.Conv2D):
        @property
        def kernel(self):
            kernel = self._kernel
            return (kernel - keras.ops.mean(kernel)) / (keras.ops.std(kernel) + 1e-3)

    return [Standardized(4, 3, padding="same"), layers.Flatten()]


def embedding_with_lora(layers):
    layer = layers.Embedding(5, 4)
    layer.build()
    layer.enable_lora(2)
    return [layers.Lambda(lambda images: images[:, :, 0, 0] > 0), layer, layers.LSTM(4)]


def own_cell(layers):
    """A layer of Keras whose cell somebody has replaced by a kind of it that computes something else."""

    class Doubled(layers.LSTMCell):
        def call(self, inputs, states, training=False):
            output, states = super().call(inputs, states, training=training)
            return 2.0 * output, states

    layer = layers.LSTM(4)
    layer.cell = Doubled(4)
    return [layers.Reshape((6, 18)), layers.Masking(), layer]


def normalization_without_scale(layers):
    return [layers.BatchNormalization(scale=False), layers.BatchNormalization(center=False), layers.Flatten()]


def sigmoid_scores(layers):
    """Keras marks the outputs of a sigmoid as it marks those of a softmax."""
    return [layers.Flatten(), layers.Dense(3, activation="sigmoid")]


def simple(layers):
    return [layers.Reshape((6, 18)), layers.SimpleRNN(5, return_sequences=True), layers.SimpleRNN(4)]


def stacked(layers):
    cells = [layers.LSTMCell(5), layers.GRUCell(4), layers.SimpleRNNCell(4)]
    return [layers.Reshape((6, 18)), layers.RNN(layers.StackedRNNCells(cells))]


def masked(layers):
    return [layers.Reshape((6, 18)), layers.Masking(), layers.GRU(4, return_sequences=True), layers.LSTM(4)]


def convolutional_lstm(rank):
    def made(layers):
        shape = {1: (6, 6, 3), 2: (2, 3, 6, 3), 3: (2, 3, 3, 2, 3)}[rank]
        layer = getattr(layers, f"ConvLSTM{rank}D")(2, 2)
        return [layers.Reshape(shape), layer, layers.Flatten()]

    made.__name__ = f"convolutional_lstm_{rank}d"
    return made


MODELS = (
    convolution_with_lora,
    convolution_without_bias,
    standardized_convolution,
    embedding_with_lora,
    own_cell,
    normalization_without_scale,
    sigmoid_scores,
    simple,
    stacked,
    masked,
    *(convolutional_lstm(rank) for rank in (1, 2, 3)),
)


def model_of(read, optimizer):
    import keras

    keras.utils.set_random_seed(0)
    has_lora = read in (convolution_with_lora, embedding_with_lora)  # whose weights only Keras can draw
    # JAX takes long over what Keras draws.
    with nullcontext() if has_lora else drawn_later():
        hidden = read(keras.layers)
        scores = [] if read is sigmoid_scores else [keras.layers.Dense(3, activation="softmax")]
        inputs = keras.Input((6, 6, 3), batch_size=8)
        model = keras.Sequential([inputs, *hidden, *scores])
    if not has_lora:
        initialise(model, seed=0)
    model.compile(getattr(keras.optimizers, optimizer)(0.02), "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("read", MODELS, ids=lambda read: read.__name__)
def test_layers_of_all_kinds_train_as_in_keras(read, backend):
    ours, theirs = model_of(read, "Adam"), model_of(read, "Adam")
    theirs.set_weights(ours.get_weights())
    x = draws().normal(size=(8, 6, 6, 3)).astype(np.float32)
    y = draws(1).integers(3, size=8)
    with backend.on(devices.resolve().device):
        expected = theirs.fit(x, y, batch_size=8, epochs=STEPS, shuffle=False, verbose=0).history["loss"]
    trainer = Trainer(ours)
    found = trainer.fit((x, y), batch_size=8, epochs=STEPS, shuffle=False, progress="quiet").history["loss"]
    np.testing.assert_allclose(found, expected, atol=LOSS_TOLERANCE)
    assert np.isfinite(found).all()
    assert found[0] != found[-1]
