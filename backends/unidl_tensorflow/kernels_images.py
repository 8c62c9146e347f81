"""Image layers: pooling before bias and ReLU, and batch normalization in one kernel."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from unidl.keras_internals import tensor_attribute
from unidl.kernels import attach, normalizes_plainly
from unidl_tensorflow.keras_internals import CONVOLUTION, MAX_POOLING, NORMALIZATION, SAMPLING, is_channels_last
from unidl_tensorflow.replacing import compiled_by_xla

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors

SMALLEST = tf.float32.min / 2
"""Below it lies nothing that a network computes, apart from the largest of no numbers."""
PRODUCTS = "_unidl_products"
"""Attribute of the outputs of a convolution: its products before bias and ReLU, and the bias."""

_convolution_call, _max_pool, _normalization_call, _bilinear = (
    place.original for place in (CONVOLUTION, MAX_POOLING, NORMALIZATION, SAMPLING)
)


def convolution_call(self: Any, inputs: Any) -> Any:
    """Wrap BaseConv.call so that `max_pool` recognizes its outputs. Outputs that are not needed are never computed."""
    suits = (
        self.use_bias
        and self.activation is keras.activations.relu
        and self.data_format == "channels_last"
        and isinstance(inputs, tf.Tensor)
        and inputs.dtype == tf.float32
    )
    if not suits:
        return _convolution_call(self, inputs)
    products = self.convolution_op(inputs, self.kernel)
    bias = tensor_of(self.bias)
    outputs = tf.nn.relu(tf.nn.bias_add(products, bias))
    attach(outputs, PRODUCTS, (products, bias))
    return outputs


def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """Max-pool; for outputs of a convolution, before bias and ReLU are applied. Neither changes
    which value is the largest, so the result is the same, from fewer values."""
    known = tensor_attribute(inputs, PRODUCTS)
    if known is None or not is_channels_last(data_format):
        return _max_pool(inputs, pool_size, strides, padding, data_format)
    products, bias = known
    return _relu(tf.nn.bias_add(_max_pool(products, pool_size, strides, padding, data_format), bias))


@tf.custom_gradient
def _relu(values: Any) -> Any:
    """ReLU of pooled values. The largest of NaN is the smallest float on TensorFlow; it stays, as when ReLU comes
    first: a 0 in its place would hide a training that has diverged."""
    outputs = tf.where(values > SMALLEST, tf.nn.relu(values), values)
    return outputs, lambda gradient: tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)


def normalization_call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """BatchNormalization.call on images in one kernel, forward and backward, where Keras uses a dozen."""
    images = isinstance(inputs, tf.Tensor) and inputs.shape.rank == 4
    if not images or not normalizes_plainly(self, inputs, training, mask):
        return _normalization_call(self, inputs, training=training, mask=mask)
    gamma, beta = (tensor_of(weight) for weight in (self.gamma, self.beta))
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
    )
    # The kernel returns the variance divided by n - 1; Keras stores it divided by n.
    places = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    variance *= tf.maximum(places - 1.0, 1.0) / places
    for variable, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
        variable.assign(variable.value * self.momentum + value * (1.0 - self.momentum))
    return outputs


def bilinear(images: Any, matrices: Any, fill: str = "reflect", fill_value: float = 0.0) -> Any:
    """`unidl.sampling.bilinear` by TensorFlow's own kernel, which XLA lacks. The gradient that TensorFlow has for it is
    only about right, so the images get that of ours."""
    if not isinstance(images, tf.Tensor) or matrices.dtype != tf.float32 or compiled_by_xla():
        return _bilinear(images, matrices, fill, fill_value)

    @tf.custom_gradient
    def sampled(values: Any) -> Any:
        shape = tf.shape(values)
        rows = tf.reshape(tf.stop_gradient(matrices), (-1, 6))
        found = tf.raw_ops.ImageProjectiveTransformV3(
            images=values,
            transforms=tf.pad(rows, ((0, 0), (0, 2))),
            output_shape=shape[1:3],
            interpolation="BILINEAR",
            fill_mode=fill.upper(),
            fill_value=fill_value,
        )

        def gradient(upstream: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(values)
                ours = _bilinear(values, matrices, fill, fill_value)
            return tape.gradient(ours, values, upstream)

        return tf.ensure_shape(found, values.shape), gradient

    return sampled(tf.cast(images, tf.float32))


def tensor_of(weight: Any) -> tf.Tensor:
    """Return a Keras weight as a TensorFlow tensor."""
    return tf.convert_to_tensor(ops.convert_to_tensor(weight))
