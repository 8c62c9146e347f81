"""Training steps of a user's own, as Keras's guides write them for each framework."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class OwnStep:
    """For models whose train_step does all itself; they say what their loss is.

    On JAX a step is a function of states, elsewhere it changes the variables.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def loss_of(self, data: Any, outputs: Any) -> Any:
        raise NotImplementedError

    def inputs_of(self, data: Any) -> Any:
        return data[0]

    def train_step(self, *arguments: Any) -> Any:
        return getattr(self, f"_{keras.backend.backend()}_step")(*arguments)

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        trainable, others, slots, metrics = state

        def loss_and_others(trainable: Any) -> Any:
            outputs, changed = self.stateless_call(trainable, others, self.inputs_of(data), training=True)
            return self.loss_of(data, outputs), changed

        (loss, others), gradients = jax.value_and_grad(loss_and_others, has_aux=True)(trainable)
        trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
        metrics = self.tracker.stateless_update_state(metrics, loss)
        logs = {"loss": self.tracker.stateless_result(metrics)}
        return logs, (trainable, others, slots, metrics)

    def _torch_step(self, data: Any) -> Any:
        import torch

        self.zero_grad()
        loss = self.loss_of(data, self(self.inputs_of(data), training=True))
        loss.backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}

    def _tensorflow_step(self, data: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self.loss_of(data, self(self.inputs_of(data), training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


class Pairs(OwnStep, keras.Model):
    """Learns y from x."""

    def loss_of(self, data: Any, outputs: Any) -> Any:
        return ops.mean(ops.square(data[1] - outputs)) + 0.01 * ops.mean(ops.abs(outputs))


class Alone(OwnStep, keras.Model):
    """Learns x from x: its step is handed x itself, as Keras hands it for `fit(x)`."""

    def inputs_of(self, data: Any) -> Any:
        return data

    def loss_of(self, data: Any, outputs: Any) -> Any:
        return ops.mean(ops.sum(ops.square(data - outputs), axis=1))


class Triplets(OwnStep, keras.Model):
    """Brings two of three inputs together, and the third one away from them. Keras hands a list in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = keras.Sequential([keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(2)])

    def call(self, inputs: Any, training: bool = False) -> Any:
        anchor, near, far = (self.tower(part, training=training) for part in inputs)
        return ops.sum(ops.square(anchor - near), axis=-1), ops.sum(ops.square(anchor - far), axis=-1)

    def loss_of(self, data: Any, outputs: Any) -> Any:
        return ops.mean(ops.maximum(outputs[0] - outputs[1] + 0.5, 0.0))
