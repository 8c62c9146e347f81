"""Every loss class of keras.losses, and losses of a user's own."""

from __future__ import annotations

import keras
import numpy as np
from cases import TO_TWO, UNTRACED, Case, chain, noise, one_hot, regressor, uniform, whole
from keras import layers, losses, ops

SIGNS = np.sign(noise(2, seed=1))
BITS = (SIGNS + 1) / 2
POSITIVE = uniform(2, low=0.1, high=2.0, seed=1)
FLAGS = uniform(low=0.2, high=2.0, seed=5)


def learning(loss, units=2, activation=None):
    return lambda: chain(
        (4,), layers.Dense(6, activation="tanh"), layers.Dense(units, activation=activation), loss=loss()
    )


def numbers(name, targets=TO_TWO, activation=None, plain=None, **options):
    """A loss of numbers, or of probabilities of two things."""
    build = learning(lambda: getattr(losses, name)(**options), activation=activation)
    return Case(name, build, (noise(4), targets), plain=plain or {})


def classes(name, targets, plain=None, **options):
    """A loss of the probabilities of three classes."""
    build = learning(lambda: getattr(losses, name)(**options), units=3, activation="softmax")
    return Case(name, build, (noise(4), targets), plain=plain or {})


def pictures(name, **options):
    """A loss of the overlap of pictures."""
    return Case(
        name,
        lambda: chain(
            (5, 5, 2),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
            loss=getattr(losses, name)(**options),
        ),
        (noise(5, 5, 2), whole(2, 5, 5, 1, seed=1).astype(np.float32)),
    )


def speech():
    return chain((8, 3), layers.Dense(4, activation="tanh"), layers.Dense(5), loss=losses.CTC())


def close_pairs():
    return chain(
        (4,), layers.Dense(6, activation="tanh"), layers.Dense(3), layers.UnitNormalization(), loss=losses.Circle()
    )


EVERY_CLASS = [
    numbers("MeanSquaredError"),
    numbers("MeanAbsoluteError", reduction="sum"),
    numbers("MeanAbsolutePercentageError", POSITIVE, activation="softplus"),
    numbers("MeanSquaredLogarithmicError", POSITIVE, activation="softplus"),
    numbers("CosineSimilarity"),
    numbers("Huber", delta=0.5),
    numbers("LogCosh"),
    numbers("Hinge", SIGNS),
    numbers("SquaredHinge", BITS),
    numbers("Poisson", POSITIVE, activation="softplus"),
    numbers("BinaryCrossentropy", BITS, label_smoothing=0.1, activation="sigmoid"),
    numbers("BinaryFocalCrossentropy", BITS, apply_class_balancing=True, activation="sigmoid"),
    classes("CategoricalHinge", one_hot(3)),
    classes("KLDivergence", one_hot(3) * 0.7 + 0.1),
    classes("CategoricalCrossentropy", one_hot(3), label_smoothing=0.2),
    classes("CategoricalFocalCrossentropy", one_hot(3)),
    classes("CategoricalGeneralizedCrossEntropy", whole(3)),
    classes("SparseCategoricalCrossentropy", whole(3), ignore_class=1),
    pictures("Dice"),
    pictures("Tversky", alpha=0.3, beta=0.7),
    Case("CTC", speech, (noise(8, 3), whole(5, 4, low=1, seed=1))),
    Case("Circle", close_pairs, (noise(4), whole(3)), plain=UNTRACED),
]


class Weighing(losses.Loss):
    """A loss of a user's own with a setting."""

    def __init__(self, power):
        super().__init__(name="weighing")
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.power(ops.abs(y_true - y_pred) + 1e-3, self.power), axis=-1)


class Counting(losses.Loss):
    """A loss that counts its calls in a variable, and weighs with it."""

    def __init__(self):
        super().__init__(name="counting")
        self.count = keras.Variable(0.0, trainable=False, name="count")

    def call(self, y_true, y_pred):
        self.count.assign(self.count + 1.0)
        return self.count * ops.mean(ops.square(y_true - y_pred), axis=-1)


def quantile(y_true, y_pred):
    apart = y_true - y_pred
    return ops.mean(ops.maximum(0.8 * apart, -0.2 * apart), axis=-1)


def two_losses():
    inputs = keras.Input((4,))
    values = layers.Dense(4, activation="tanh")(inputs)
    model = keras.Model(inputs, [layers.Dense(2, name="one")(values), layers.Activation("tanh", name="other")(values)])
    model.compile(keras.optimizers.SGD(0.05), [quantile, None], metrics={"one": [quantile], "other": ["mae"]})
    return model


CASES = [
    *EVERY_CLASS,
    Case("logits of two classes", learning(lambda: losses.BinaryCrossentropy(from_logits=True)), (noise(4), BITS)),
    Case(
        "logits of three classes",
        learning(lambda: losses.SparseCategoricalCrossentropy(from_logits=True), units=3),
        (noise(4), whole(3)),
    ),
    Case("a function as loss", learning(lambda: quantile), (noise(4), TO_TWO)),
    Case("a class as loss", learning(lambda: Weighing(1.5)), (noise(4), TO_TWO, FLAGS)),
    Case("a loss that counts", learning(Counting), (noise(4), TO_TWO)),
    Case("an output without loss", two_losses, (noise(4), [TO_TWO, noise(4, seed=2)])),
    Case(
        "weighted mean",
        lambda: regressor((4,), loss=losses.MeanSquaredError(reduction="mean_with_sample_weight")),
        (noise(4), TO_TWO, FLAGS),
    ),
]
