"""Models of the kinds that people write. A worker imports this file; it contains no tests."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops


@dataclass
class Sizes:
    """Found by its module only if that is known to Python."""

    hidden: int = 4


class Own(keras.Model):
    """Says nothing of its inputs, and has its weights once it is called."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(Sizes().hidden, activation="relu")
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(1.0 - self.first(x))


class Grouped(keras.Model):
    """Normalizes groups of rows, whose numbers vary little around another one than 0."""

    def __init__(self):
        super().__init__()
        self.normalized = layers.GroupNormalization(2, axis=1)
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(self.normalized(x + 100.0))


class Restless(layers.Layer):
    """Draws in inference as well."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds)


def own():
    return Own()


def grouped():
    return Grouped()


def sequential():
    return keras.Sequential([keras.Input((5,)), layers.Dense(3), layers.Dropout(0.3), layers.Dense(2)])


def of_three_rows():
    inputs = keras.Input(batch_shape=(3, 4))
    return keras.Model(inputs, layers.Dense(2)(inputs))


class Careful(layers.Layer):
    """Takes the logarithm in float32, also where the layers around it compute in another type, and the signs from
    their bits."""

    def call(self, x):
        numbers = ops.cast(x, "float32")
        bits = ops.view(numbers, "int32")
        return ops.where(bits < 0, -1.0, 1.0) * ops.log(1.0 + ops.abs(numbers))


class Gate(layers.Layer):
    """Makes numbers of a type that it names, and multiplies with what it has cast to that."""

    def call(self, x):
        gate = ops.concatenate([ops.ones((2,), dtype="float32"), ops.zeros((1,), "float32")])
        kinds = ops.one_hot(ops.cast(ops.argmax(x, axis=-1), "int32"), 3, dtype="float32")
        return ops.cast(x, "float32") * gate + kinds


def gated():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(Gate()(layers.Dense(3)(inputs))))


def careful():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(ops.cast(Careful()(layers.Dense(3)(inputs)), "float32")))


def several():
    """Two inputs, two outputs, a layer that is called twice by keyword, and losses in another order than outputs."""
    numbers, tokens = keras.Input((4,), name="numbers"), keras.Input((6,), dtype="int32", name="tokens")
    shared = layers.Dense(3, name="shared")
    words = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(tokens))
    both = 1.0 - layers.Concatenate()([shared(inputs=numbers), shared(words)]) * 2.0
    outputs = {
        "scores": layers.Dense(3, activation="softmax", name="scores")(both),
        "age": layers.Dense(1, name="age")(both),
    }
    model = keras.Model({"numbers": numbers, "tokens": tokens}, outputs)
    model.compile("sgd", {"scores": "SparseCategoricalCrossentropy", "age": "mse"})
    return model


def infinite():
    inputs = keras.Input((4,))
    return keras.Model(inputs, ops.log(layers.Dense(3)(inputs)))


def restless():
    inputs = keras.Input((4,))
    return keras.Model(inputs, Restless()(layers.Dense(3)(inputs)))


def frozen():
    model = sequential()
    model.trainable = False
    return model


def half_precision():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3, dtype="mixed_bfloat16")(inputs))


def pure_half_precision():
    """Weights in bfloat16 as well, and an optimizer that changes them there."""
    inputs = keras.Input((4,))
    hidden = layers.Dense(8, activation="tanh", dtype="bfloat16", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(3, dtype="bfloat16", name="scores")(hidden))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model
