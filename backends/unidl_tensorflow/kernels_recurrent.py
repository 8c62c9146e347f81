"""LSTM and GRU whose gradients for the weights are one matrix product over all steps, not one added up in each step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


@tf.custom_gradient
def lstm(inputs: tf.Tensor, hidden: Any, cell: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Run one LSTM, unrolled. inputs: (time, batch, features), time being known; hidden, cell: (batch, units). kernel:
    (features, 4 * units), gates in Keras's order i, f, c, o. Returns all outputs (time, batch, units), and the last
    cell."""
    outputs, kept = [], []
    start = (hidden, cell)
    for given in tf.unstack(_product(inputs, kernel) + bias):
        enter, forget, candidate, leave = tf.split(given + tf.matmul(hidden, recurrent), 4, axis=-1)
        enter, forget, leave = tf.sigmoid(enter), tf.sigmoid(forget), tf.sigmoid(leave)
        candidate = tf.tanh(candidate)
        kept.append((enter, forget, candidate, leave, cell))
        cell = forget * cell + enter * candidate
        bent = tf.tanh(cell)
        kept[-1] += (bent,)
        hidden = leave * bent
        outputs.append(hidden)

    def gradient(to_outputs: tf.Tensor, to_cell: tf.Tensor) -> Any:
        to_hidden = tf.zeros_like(start[0])
        to_gates: list[Any] = []
        for to_output, step in zip(reversed(tf.unstack(to_outputs)), reversed(kept), strict=True):
            enter, forget, candidate, leave, before, bent = step
            to_hidden += to_output
            to_cell += tf.raw_ops.TanhGrad(y=bent, dy=to_hidden * leave)
            gates = (
                tf.raw_ops.SigmoidGrad(y=enter, dy=to_cell * candidate),
                tf.raw_ops.SigmoidGrad(y=forget, dy=to_cell * before),
                tf.raw_ops.TanhGrad(y=candidate, dy=to_cell * enter),
                tf.raw_ops.SigmoidGrad(y=leave, dy=to_hidden * bent),
            )
            to_gates.append(tf.concat(gates, axis=-1))
            to_hidden = tf.matmul(to_gates[-1], recurrent, transpose_b=True)
            to_cell *= forget
        stacked = tf.stack(to_gates[::-1])
        before = tf.stack([start[0], *outputs[:-1]])
        return (
            _product(stacked, kernel, transposed=True),
            to_hidden,
            to_cell,
            _over_steps(inputs, stacked),
            _over_steps(before, stacked),
            tf.reduce_sum(stacked, axis=(0, 1)),
        )

    return (tf.stack(outputs), cell), gradient


@tf.custom_gradient
def gru(inputs: tf.Tensor, hidden: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Run one GRU with Keras's reset_after, unrolled. inputs: (time, batch, features), time being known; hidden:
    (batch, units). kernel: (features, 3 * units), gates in Keras's order z, r, h; bias: (2, 3 * units). Returns all
    outputs (time, batch, units)."""
    outputs, kept = [], []
    start = hidden
    for given in tf.unstack(_product(inputs, kernel) + bias[0]):
        update, reset, candidate = tf.split(given, 3, axis=-1)
        of_update, of_reset, of_candidate = tf.split(tf.matmul(hidden, recurrent) + bias[1], 3, axis=-1)
        update, reset = tf.sigmoid(update + of_update), tf.sigmoid(reset + of_reset)
        candidate = tf.tanh(candidate + reset * of_candidate)
        kept.append((update, reset, candidate, of_candidate, hidden))
        hidden = candidate + update * (hidden - candidate)
        outputs.append(hidden)

    def gradient(to_outputs: tf.Tensor) -> Any:
        to_hidden = tf.zeros_like(start)
        to_given, to_recurrent = [], []
        for to_output, step in zip(reversed(tf.unstack(to_outputs)), reversed(kept), strict=True):
            update, reset, candidate, of_candidate, before = step
            to_hidden += to_output
            to_candidate = tf.raw_ops.TanhGrad(y=candidate, dy=to_hidden * (1 - update))
            to_update = tf.raw_ops.SigmoidGrad(y=update, dy=to_hidden * (before - candidate))
            to_reset = tf.raw_ops.SigmoidGrad(y=reset, dy=to_candidate * of_candidate)
            to_given.append(tf.concat((to_update, to_reset, to_candidate), axis=-1))
            to_recurrent.append(tf.concat((to_update, to_reset, to_candidate * reset), axis=-1))
            to_hidden = to_hidden * update + tf.matmul(to_recurrent[-1], recurrent, transpose_b=True)
        given, recurring = tf.stack(to_given[::-1]), tf.stack(to_recurrent[::-1])
        return (
            _product(given, kernel, transposed=True),
            to_hidden,
            _over_steps(inputs, given),
            _over_steps(tf.stack([start, *outputs[:-1]]), recurring),
            tf.stack([tf.reduce_sum(given, axis=(0, 1)), tf.reduce_sum(recurring, axis=(0, 1))]),
        )

    return tf.stack(outputs), gradient


def _product(steps: tf.Tensor, kernel: tf.Tensor, transposed: bool = False) -> tf.Tensor:
    """Multiply (time, batch, features) with a kernel in one matrix product."""
    flat = tf.matmul(tf.reshape(steps, (-1, steps.shape[-1])), kernel, transpose_b=transposed)
    return tf.reshape(flat, (steps.shape[0], -1, flat.shape[-1]))


def _over_steps(values: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """The gradient of a kernel (features, gates) that multiplied `values` in each step."""
    rows = tf.reshape(values, (-1, values.shape[-1]))
    return tf.matmul(rows, tf.reshape(gradients, (-1, gradients.shape[-1])), transpose_a=True)
