"""Models by how they are put together: functional, sequential, subclassed; several inputs and outputs; masks."""

from __future__ import annotations

import keras
from cases import TO_TWO, Case, chain, compiled, noise, one_hot, padded, regressor, uniform, whole
from keras import layers, ops


class Wide(keras.Model):
    """A subclassed model whose graph Keras does not know."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(6, activation="tanh")
        self.blocks = [layers.Dense(6, activation="elu") for _ in range(2)]
        self.last = layers.Dense(2)

    def call(self, inputs, training=False):
        values = self.first(inputs)
        for block in self.blocks:
            values = values + block(values)
        return self.last(values * (2.0 if training else 1.0))


class TwoHeads(keras.Model):
    """Takes a dict and gives one."""

    def __init__(self):
        super().__init__()
        self.number, self.kind = layers.Dense(1), layers.Dense(3, activation="softmax")

    def call(self, inputs):
        both = ops.concatenate([inputs["left"], inputs["right"]], axis=-1)
        return {"number": self.number(both), "kind": self.kind(both)}


class Scaled(layers.Layer):
    """A layer with weights of its own, made in build and in __init__."""

    def __init__(self):
        super().__init__()
        self.shift = self.add_weight(shape=(), initializer="zeros", name="shift")

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale + self.shift


def residual():
    inputs = keras.Input((8, 8, 2))
    values = layers.Conv2D(4, 3, padding="same", activation="elu")(inputs)
    for _ in range(2):
        inner = layers.Conv2D(4, 3, padding="same", use_bias=False)(values)
        inner = layers.BatchNormalization()(inner)
        values = layers.Activation("tanh")(layers.Add()([values, inner]))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(values))
    return compiled(keras.Model(inputs, outputs))


def two_and_two():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([layers.Dense(4, activation="tanh")(left), right])
    outputs = [layers.Dense(1, name="number")(both), layers.Dense(3, activation="softmax", name="kind")(both)]
    return compiled(
        keras.Model([left, right], outputs),
        loss=["mse", "sparse_categorical_crossentropy"],
        loss_weights=[0.3, 2.0],
        metrics=[["mae"], ["accuracy"]],
    )


def named_outputs():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([left, right])
    outputs = {"number": layers.Dense(1)(both), "kind": layers.Dense(3, activation="softmax")(both)}
    return compiled(keras.Model({"left": left, "right": right}, outputs), **BY_NAME)


def shared():
    tower = layers.Dense(4, activation="tanh")
    one, other = keras.Input((3,)), keras.Input((3,))
    apart = layers.Subtract()([tower(one), tower(layers.Dense(3)(other))])
    closeness = layers.Dot(axes=-1, normalize=True)([tower(one), apart])
    return compiled(keras.Model([one, other], layers.Concatenate()([closeness, layers.Multiply()([apart, apart])])))


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="tanh"), layers.BatchNormalization()])
    middle_in = keras.Input((4,))
    middle = keras.Model(middle_in, layers.Maximum()([inner(middle_in), layers.Dense(4)(middle_in)]))
    inputs = keras.Input((4,))
    return compiled(keras.Model(inputs, layers.Dense(2)(middle(middle(inputs)))))


def tagger(**arguments):
    tokens = keras.Input((7,), dtype="int32")
    steps = layers.Dense(3, activation="softmax")(layers.Embedding(9, 4, mask_zero=True)(tokens))
    return compiled(keras.Model(tokens, steps), loss="sparse_categorical_crossentropy", **arguments)


def merged():
    inputs = [keras.Input((3,)) for _ in range(3)]
    parts = [layers.Average()(inputs), layers.Minimum()(inputs), layers.Multiply()(inputs), layers.Add()(inputs)]
    return compiled(keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(parts))))


def frozen_half():
    model = regressor((4,), layers.Dense(5, activation="tanh", trainable=False), layers.Dense(4, activation="tanh"))
    return compiled(model, metrics=["mae"])


def frozen_normalization():
    model = regressor((6, 6, 2), layers.Conv2D(3, 3), layers.BatchNormalization(trainable=False))
    return compiled(model)


BY_NAME = {
    "loss": {"number": "mse", "kind": "sparse_categorical_crossentropy"},
    "loss_weights": {"number": 0.5, "kind": 1.5},
    "metrics": {"kind": ["accuracy"]},
    "weighted_metrics": {"number": ["mae"]},
}
PAIR = [noise(3), noise(2, seed=1)]
NAMED = {"left": noise(3), "right": noise(2, seed=1)}
TARGETS = {"number": noise(1, seed=2), "kind": whole(3, seed=3)}
SPREAD = uniform(low=0.1, high=2.0, seed=5)

CASES = [
    Case("functional", lambda: regressor((4,), layers.Dense(5, activation="relu")), (noise(4), TO_TWO)),
    Case("subclassed", lambda: compiled(Wide()), (noise(4), TO_TWO), evaluates=True),
    Case("built at its first batch", lambda: compiled(Wide()), (noise(4), TO_TWO), built=False),
    Case("custom layer", lambda: regressor((4,), Scaled(), layers.Dense(3), Scaled()), (noise(4), TO_TWO)),
    Case("residual blocks", residual, (noise(8, 8, 2), TO_TWO), evaluates=True),
    Case("two inputs, two outputs", two_and_two, (PAIR, [noise(1, seed=2), whole(3, seed=3)])),
    Case("dict inputs and outputs", named_outputs, (NAMED, TARGETS, SPREAD), evaluates=True),
    Case(
        "dict inputs and outputs, subclassed",
        lambda: compiled(TwoHeads(), **BY_NAME),
        (NAMED, TARGETS, {"number": SPREAD, "kind": uniform(seed=6)}),
    ),
    Case("shared layers", shared, ([noise(3), noise(3, seed=1)], noise(5, seed=2))),
    Case("nested models", nested, (noise(4), TO_TWO)),
    Case("merging layers", merged, ([noise(3, seed=seed) for seed in range(3)], TO_TWO)),
    Case("mask of an embedding", lambda: tagger(metrics=["accuracy"]), (padded(9, 7), whole(3, 7))),
    Case(
        "mask, weighted metric, weight a step",
        lambda: tagger(weighted_metrics=["accuracy"]),
        (padded(9, 7), whole(3, 7), uniform(7)),
    ),
    Case(
        "masking layer",
        lambda: chain((6, 3), layers.Masking(0.0), layers.LSTM(4, return_sequences=True), layers.Dense(2)),
        (noise(6, 3) * (padded(9, 6) > 0)[..., None], noise(6, 2, seed=1)),
    ),
    Case(
        "lambda and reshaping layers",
        lambda: regressor(
            (4, 3),
            layers.Lambda(lambda value: value * value + 1.0),
            layers.Permute((2, 1)),
            layers.Reshape((2, 6)),
            layers.Rescaling(0.5, offset=0.1),
            layers.Flatten(),
            layers.RepeatVector(2),
            layers.Identity(),
            layers.Dense(3),
        ),
        (noise(4, 3), TO_TWO),
        unsaved="it names Lambda",
    ),
    Case("frozen layers", frozen_half, (noise(4), TO_TWO)),
    Case("frozen batch normalization", frozen_normalization, (noise(6, 6, 2), TO_TWO)),
    Case(
        "sample weights",
        lambda: chain((4,), layers.Dense(3, activation="softmax"), loss="categorical_crossentropy", metrics=["acc"]),
        (noise(4), one_hot(3), SPREAD),
        evaluates=True,
    ),
    Case(
        "class weights as sample weights",
        lambda: chain(
            (4,),
            layers.Dense(3, activation="softmax"),
            loss="sparse_categorical_crossentropy",
            weighted_metrics=["accuracy"],
        ),
        (noise(4), whole(3), (0.5 + whole(3)).astype("float32")),
    ),
    Case(
        "dropout",
        lambda: regressor(
            (4,),
            layers.Dense(8, activation="tanh"),
            layers.Dropout(0.4, seed=3),
            layers.Dense(8, activation="selu"),
            layers.Dropout(0.2, noise_shape=(None, 1), seed=4),
        ),
        (noise(4), TO_TWO),
        evaluates=True,
    ),
    Case(
        "noise",
        lambda: regressor(
            (4,),
            layers.Dense(8, activation="selu"),
            layers.AlphaDropout(0.1, seed=4),
            layers.GaussianNoise(0.1, seed=5),
            layers.GaussianDropout(0.2, seed=6),
        ),
        (noise(4), TO_TWO),
        evaluates=True,
    ),
    Case(
        "spatial dropout",
        lambda: regressor((6, 4), layers.Conv1D(4, 2), layers.SpatialDropout1D(0.4, seed=3)),
        (noise(6, 4), TO_TWO),
    ),
    Case(
        "smaller last batch",
        lambda: regressor((4,), layers.Dense(5, activation="tanh"), metrics=["mae", "mse", "cosine_similarity"]),
        (noise(4)[:30], TO_TWO[:30]),
    ),
]
