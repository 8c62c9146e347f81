"""Models that train themselves, each written as the guides of Keras write it for its backend."""

from __future__ import annotations


def self_taught(backend, *, with_call=True):
    """Return a class of models whose `train_step` learns what the method `loss_of(data)` says, whatever `data` is."""
    import keras

    class SelfTaught(keras.Model):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            self.tracker = keras.metrics.Mean(name="loss")
            self.handed = []

        @property
        def metrics(self):
            return [self.tracker]

        def note(self, data):
            kind = type(data).__name__ if isinstance(data, (tuple, list, dict)) else "array"
            self.handed.append((kind, len(data) if kind != "array" else None))

        train_step = STEPS[backend.name]

    if with_call:
        SelfTaught.call = lambda self, x: self.layer(x)
    return SelfTaught


def on_torch(self, data):
    import torch

    self.note(data)
    self.zero_grad()
    loss = self.loss_of(data)
    loss.backward()
    with torch.no_grad():
        self.optimizer.apply([weight.value.grad for weight in self.trainable_weights], self.trainable_weights)
    self.tracker.update_state(loss)
    return {"loss": self.tracker.result()}


def on_tensorflow(self, data):
    import tensorflow as tf

    self.note(data)
    with tf.GradientTape() as tape:
        loss = self.loss_of(data)
    self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
    self.tracker.update_state(loss)
    return {"loss": self.tracker.result()}


def on_jax(self, state, data):
    import jax
    import keras

    self.note(data)
    trainable, others, optimizer, metrics = state

    def loss_with(values):
        with keras.StatelessScope(list(zip(self.trainable_variables, values, strict=True))):
            return self.loss_of(data)

    loss, gradients = jax.value_and_grad(loss_with)(trainable)
    trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
    with keras.StatelessScope(list(zip(self.metrics_variables, metrics, strict=True))) as scope:
        self.tracker.update_state(loss)
        logs = {"loss": self.tracker.result()}
    metrics = [scope.get_current_value(variable) for variable in self.metrics_variables]
    return logs, (trainable, others, optimizer, metrics)


STEPS = {"jax": on_jax, "torch": on_torch, "tensorflow": on_tensorflow}
