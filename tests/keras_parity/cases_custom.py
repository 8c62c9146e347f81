"""What users add: steps and losses of their own, add_loss, counters, LoRA, models that learn from x alone."""

from __future__ import annotations

import keras
from cases import OWN, SIGN_LIKE, TO_TWO, Case, compiled, noise, regressor, uniform, whole
from keras import layers, ops
from written_steps import Alone, Pairs, Triplets


class Penalized(layers.Layer):
    """Adds a loss of what goes through it."""

    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


class Counter(layers.Layer):
    """Counts its calls in training, and answers by it."""

    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.mean = self.add_weight(shape=(3,), initializer="zeros", trainable=False, name="mean")

    def call(self, inputs, training=False):
        if training:
            self.count.assign(self.count + 1.0)
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(inputs, axis=0))
        return inputs / (1.0 + 0.1 * self.count) - self.mean


class OwnLoss(keras.Model):
    """A model with a compute_loss of its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred)) + 0.1 * ops.mean(ops.square(x))


class OwnMetrics(keras.Model):
    """A model with a compute_metrics of its own."""

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "twice": 2.0 * ops.mean(ops.abs(y - y_pred))}


class OwnTest(keras.Model):
    """A model that is tested otherwise than it is trained."""

    def test_step(self, *arguments):
        if keras.backend.backend() != "jax":
            x, y = arguments[0]
            return {"apart": ops.mean(ops.abs(y - self(x, training=False)))}
        (trainable, others, metrics), (x, y) = arguments
        outputs, others = self.stateless_call(trainable, others, x, training=False)
        return {"apart": ops.mean(ops.abs(y - outputs))}, (trainable, others, metrics)


class Sampling(layers.Layer):
    """The middle of a variational autoencoder, with the divergence as a loss."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, inputs):
        mean, spread = inputs
        self.add_loss(-0.05 * ops.mean(1 + spread - ops.square(mean) - ops.exp(spread)))
        return mean + ops.exp(0.5 * spread) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def functional(kind, **arguments):
    """Builds a model of two dense layers, of a class of its own."""

    def build():
        inputs = keras.Input((4,))
        values = layers.Dense(5, activation="tanh")(inputs)
        return compiled(kind(inputs, layers.Dense(2)(values)), **arguments)

    return build


def alone():
    inputs = keras.Input((4,))
    model = Alone(inputs, layers.Dense(4)(layers.Dense(2, activation="tanh")(inputs)))
    model.compile(optimizer=keras.optimizers.SGD(0.05))
    return model


def variational():
    inputs = keras.Input((4,))
    values = layers.Dense(6, activation="tanh")(inputs)
    middle = Sampling()([layers.Dense(2)(values), layers.Dense(2)(values)])
    return compiled(keras.Model(inputs, layers.Dense(4)(middle)))


def only_added_loss():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Penalized()(layers.Dense(3, activation="tanh")(inputs)))
    model.compile(optimizer=keras.optimizers.SGD(0.5))
    return model


def triplets():
    model = Triplets()
    model.compile(optimizer=keras.optimizers.SGD(0.05))
    return model


def dense_lora(**arguments):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2)])
    model.layers[0].enable_lora(2)
    return compiled(model, **arguments)


def picture_lora():
    first = layers.Conv2D(4, 3, activation="relu")
    model = keras.Sequential([keras.Input((6, 6, 2)), first, layers.Flatten(), layers.Dense(2)])
    first.enable_lora(2)
    return compiled(model)


def token_lora():
    table = layers.Embedding(9, 4)
    model = keras.Sequential([keras.Input((5,), dtype="int32"), table, layers.LSTM(3), layers.Dense(2)])
    table.enable_lora(2)
    return compiled(model)


def einsum_lora():
    first = layers.EinsumDense("abc,cd->abd", (3, 4), activation="tanh")
    model = keras.Sequential([keras.Input((3, 4)), first, layers.Flatten(), layers.Dense(2)])
    first.enable_lora(2)
    return compiled(model)


def eager():
    return regressor((4,), layers.Dense(5, activation="tanh"), run_eagerly=True)


def active(regularizer):
    return lambda: regressor((4,), layers.Dense(5, activation="tanh", activity_regularizer=regularizer))


def active_layer():
    return regressor((4,), layers.Dense(5), layers.ActivityRegularization(l1=0.02, l2=0.01), metrics=["mae"])


X_AND_Y = (noise(4), TO_TWO)

CASES = [
    Case("own train_step", functional(Pairs), X_AND_Y, plain=OWN),
    Case("own train_step with Adam", functional(Pairs, optimizer="adam"), X_AND_Y, share=SIGN_LIKE, plain=OWN),
    Case("own train_step on x alone", alone, (noise(4),), plain=OWN),
    Case("own train_step on three inputs", triplets, ([noise(4, seed=seed) for seed in range(3)],), plain=OWN),
    Case("own compute_loss", functional(OwnLoss, metrics=["mae"]), X_AND_Y, evaluates=True),
    Case("own compute_metrics", functional(OwnMetrics, metrics=["mae"]), X_AND_Y, plain=OWN),
    Case("own test_step", functional(OwnTest), X_AND_Y, evaluates=True),
    Case("add_loss", lambda: regressor((4,), layers.Dense(5), Penalized()), X_AND_Y, evaluates=True),
    Case("add_loss alone, x alone", only_added_loss, (noise(4),)),
    Case("variational autoencoder", variational, (noise(4), noise(4))),
    Case("activity regularizer", active("l2"), X_AND_Y),
    Case("activity regularizer, both", active(keras.regularizers.L1L2(0.02, 0.01)), X_AND_Y, evaluates=True),
    Case("activity regularization layer", active_layer, X_AND_Y),
    Case("activity regularizer, weighted rows", active("l1"), (*X_AND_Y, uniform(low=0.2, high=2.0, seed=5))),
    Case(
        "layer that counts",
        lambda: regressor((4,), layers.Dense(3), Counter(), layers.Dense(4)),
        X_AND_Y,
        evaluates=True,
    ),
    Case("LoRA on Dense", dense_lora, X_AND_Y),
    Case("LoRA on Dense with Adam", lambda: dense_lora(optimizer=keras.optimizers.Adam(0.01)), X_AND_Y, 1e-2),
    Case("LoRA on Conv2D", picture_lora, (noise(6, 6, 2), TO_TWO)),
    Case("LoRA on Embedding", token_lora, (whole(9, 5), TO_TWO)),
    Case("LoRA on EinsumDense", einsum_lora, (noise(3, 4), TO_TWO)),
    Case("run eagerly", eager, X_AND_Y, plain=dict.fromkeys(("jax", "torch", "tensorflow"), "run_eagerly=True")),
]
