"""What Keras 3.15 computes wrongly on a backend and unidl does not, and the same in words that Keras does rightly."""

from __future__ import annotations

import keras
import numpy as np
from cases import SIGN_LIKE, TO_TWO, Case, noise, regressor, whole
from keras import layers, ops


class Averages(layers.Layer):
    """Average pooling with padding="same": sums of windows, divided by the places of each that are in the picture."""

    def __init__(self, size, strides):
        super().__init__()
        self.options = {"strides": strides, "padding": "same"}
        self.size = size

    def sums(self, values):
        channels = values.shape[-1]
        kernel = ops.ones((self.size, self.size, channels, 1))
        return ops.depthwise_conv(values, kernel, **self.options)

    def call(self, inputs):
        return self.sums(inputs) / self.sums(ops.ones_like(inputs))


class Cubic(layers.Layer):
    """Bicubic growth of square pictures, as a product with the weights of Keys's cubic, a = -0.5."""

    def __init__(self, given, wanted):
        super().__init__()
        places = (np.arange(wanted) + 0.5) * given / wanted - 0.5
        away = np.abs(places[:, None] - np.arange(given)[None])
        inner = 1.5 * away**3 - 2.5 * away**2 + 1
        outer = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        shares = np.where(away <= 1, inner, np.where(away < 2, outer, 0))
        self.shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def call(self, inputs):
        shares = ops.convert_to_tensor(self.shares)
        return ops.einsum("ri,bijc,sj->brsc", shares, inputs, shares)


class Product(layers.Layer):
    """An embedding as a product of one-hot rows and the table, with the name that an Embedding gets."""

    def __init__(self, tokens, units):
        super().__init__(name="embedding")
        self.tokens, self.units = tokens, units

    def build(self, shape):
        self.table = self.add_weight(shape=(self.tokens, self.units), initializer="uniform", name="embeddings")

    def call(self, inputs):
        return ops.matmul(ops.one_hot(inputs, self.tokens), self.table)


def pooled(part):
    return lambda: regressor((7, 7, 3), layers.Conv2D(4, 2), part())


def grown(part):
    return lambda: regressor((4, 4, 3), layers.Conv2D(2, 1), part(), layers.Conv2D(2, 2, strides=2, activation="tanh"))


def read(part, kind, rate):
    def build():
        optimizer = getattr(keras.optimizers, kind)(rate)
        return regressor((6,), part(5, 3), layers.Dense(3, activation="tanh"), dtype="int32", optimizer=optimizer)

    return build


SQUARES = {"tensorflow": "squares the gradients of a repeated token separately "}


def repeated(kind, rate):
    return Case(
        f"tokens that come twice, {kind}",
        read(layers.Embedding, kind, rate),
        (whole(5, 6), TO_TWO),
        share=SIGN_LIKE,
        reference=read(Product, kind, rate),
        faults=SQUARES,
    )


CASES = [
    Case(
        'AveragePooling2D, padding="same"',
        pooled(lambda: layers.AveragePooling2D(2, strides=2, padding="same")),
        (noise(7, 7, 3), TO_TWO),
        reference=pooled(lambda: Averages(2, 2)),
        faults={},
    ),
    Case(
        'AveragePooling2D, padding="same", uneven',
        pooled(lambda: layers.AveragePooling2D(3, strides=2, padding="same")),
        (noise(7, 7, 3), TO_TWO),
        reference=pooled(lambda: Averages(3, 2)),
        faults={"torch": "counts the padding where there is more of it on one side (keras pull request 23233)"},
    ),
    Case(
        "bicubic growth",
        grown(lambda: layers.UpSampling2D(2, interpolation="bicubic")),
        (noise(4, 4, 3), TO_TWO),
        reference=grown(lambda: Cubic(4, 8)),
        faults={"torch": "takes a = -0.75 for the cubic, where JAX and TensorFlow take -0.5"},
    ),
    repeated("Adam", 0.01),
    repeated("Adagrad", 0.1),
    repeated("RMSprop", 0.01),
]
