"""What only TensorFlow has: its switch for TF32, XLA on request, and retracing."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from unidl import registry
from unidl.precision import named

if registry.choice()[0].name != "tensorflow":
    pytest.skip("another backend is under test", allow_module_level=True)

import keras
import numpy as np
import tensorflow as tf
from training import (
    FLOAT32,
    assert_fits_or_not_trains_the_same,
    assert_same_weights,
    dense,
    points,
    sentences,
    small_lstm,
    weights_of,
)

from unidl import Trainer


def test_the_switch_is_set_and_put_back():
    """TensorFlow's own default is TF32 wherever the GPU has it."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    before = enabled()
    try:
        for outside in (True, False):
            tf.config.experimental.enable_tensor_float_32_execution(outside)
            for name in ("float32", "tf32", "mixed_float16"):
                with registry.current().precision(named(name)):
                    assert enabled() == (name != "float32")
                assert enabled() == outside
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize("rows", [4, 64])
def test_xla_is_used_where_it_is_asked_for(rows):
    """jit_compile=True was once dropped without a word."""
    models = [dense(jit_compile=jit) for jit in (False, True)]
    for model in models:
        trainer = Trainer(model)
        trainer.fit(points(rows), batch_size=4, shuffle=False, progress="quiet")
        assert trainer._ready_loop()._train_one._jit_compile == model.jit_compile
    assert_same_weights(weights_of(models[1]), weights_of(models[0]), FLOAT32)


def test_xla_augments_images():
    """It has no kernel for TensorFlow's own sampler."""
    from unidl.layers import Augmentation

    x = np.random.default_rng(0).integers(0, 256, (8, 6, 5, 3)).astype(np.uint8)
    weights = []
    for jit_compile in (False, True):
        inputs = keras.Input(x.shape[1:], dtype="uint8")
        values = keras.layers.Flatten()(Augmentation("rotation=0.1,zoom=0.2,contrast=0.1", seed=1)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(values))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        Trainer(model).fit((x, np.arange(8.0)), batch_size=4, progress="quiet", shuffle=False)
        weights.append(weights_of(model))
    assert_same_weights(weights[1], weights[0], 1e-4)


def test_xla_trains_a_recurrent_model():
    """It has not every operation that our kernels have."""
    weights = []
    for jit_compile in (False, True):
        model = small_lstm(seed=0)
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=jit_compile)
        Trainer(model).fit(sentences(), batch_size=8, shuffle=False, progress="quiet")
        weights.append(weights_of(model))
    assert_same_weights(*weights, FLOAT32)


def test_data_too_large_for_the_device_trains_the_same(monkeypatch):
    """A few batches of it at a time are gathered on the host; the last piece of an epoch is a shorter one."""
    from unidl_tensorflow.loop import TensorFlowLoop

    assert_fits_or_not_trains_the_same(TensorFlowLoop, monkeypatch)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 1, 3), (4, 5, 3, 2)])
def test_batch_normalization_keeps_the_statistics_of_keras(shape):
    """The fused kernel returns another variance than it divides by, most of all where there are few places."""
    from unidl_tensorflow.kernels import REPLACEMENTS

    values = tf.sin(tf.reshape(tf.range(float(np.prod(shape))), shape))
    found = []
    for kernels in (nullcontext, REPLACEMENTS.in_use):
        layer = keras.layers.BatchNormalization(momentum=0.7)
        with kernels():
            outputs = [layer(values + step, training=True) for step in range(2)]
        found.append([*outputs, layer.moving_mean.value, layer.moving_variance.value])
    for stock, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-5)  # float32 sums of a dozen numbers


@pytest.mark.parametrize("wanted", [True, False])
def test_pooling_goes_before_bias_and_relu(wanted):
    """Unless somebody may ask for the gradient of what the convolution gives."""
    from unidl_tensorflow.kernels import REPLACEMENTS

    from unidl.kernels import noticing

    layers = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.MaxPooling2D(2)]
    images = tf.zeros((1, 6, 6, 1))
    layers[0].build(images.shape)
    with noticing(wanted), REPLACEMENTS.in_use():
        graph = tf.function(lambda images: layers[1](layers[0](images))).get_concrete_function(images).graph
    [pooling] = [operation for operation in graph.get_operations() if operation.type == "MaxPool"]
    assert pooling.inputs[0].op.type == ("Conv2D" if wanted else "Relu")


def test_the_bias_learns_inside_a_vectorized_map():
    """It knows no gradients but those of TensorFlow's own operations."""
    from unidl_tensorflow.kernels import REPLACEMENTS

    layers = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.MaxPooling2D(2)]
    images = tf.sin(tf.reshape(tf.range(3 * 36.0), (3, 6, 6, 1)))
    layers[0].build((1, 6, 6, 1))
    found = []

    @tf.function
    def gradient(each):
        with tf.GradientTape() as tape:
            outputs = each(lambda image: layers[1](layers[0](image[None]))[0], images)
            loss = tf.reduce_sum(tf.sin(outputs))
        return tape.gradient(loss, layers[0].bias.value)

    for each in (
        tf.vectorized_map,
        lambda function, values: tf.stack([function(value) for value in tf.unstack(values)]),
    ):
        with REPLACEMENTS.in_use():
            found.append(gradient(each))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert np.abs(found[0]).max() > 0.1
