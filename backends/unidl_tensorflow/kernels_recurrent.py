"""LSTM and GRU whose gradients for the weights are one matrix product over all steps, not one added up in each step;
the inputs are multiplied by their kernel beforehand.

The batch is cut into parts, a chain of steps each, that run beside one another: one step alone is too small to keep
several cores busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Chain = tuple[list[tf.Tensor], tuple[tf.Tensor, ...], Callable[..., Any]]
"""The outputs of the steps of a part, its last states, and what takes their gradients back through the steps."""


def lstm(projected: tf.Tensor, hidden: Any, cell: Any, recurrent: Any, sizes: Sequence[int]) -> Any:
    """Run one LSTM, unrolled. projected: the inputs times their kernel, and the bias (time, batch, 4 * units), time
    being known, gates in Keras's order i, f, c, o; hidden, cell: (batch, units). sizes: the rows of each part; none, if
    there is one. Returns all outputs (time, batch, units), and the last cell."""

    @tf.custom_gradient
    def run(projected: Any, hidden: Any, cell: Any, recurrent: Any) -> Any:
        given, starts, cells = (_parted(values, sizes) for values in (projected, hidden, cell))
        chains = [_lstm_chain(*part, recurrent) for part in zip(given, starts, cells, strict=True)]

        def gradient(to_outputs: tf.Tensor, to_cell: tf.Tensor) -> Any:
            parts = zip(chains, _parted(to_outputs, sizes), _parted(to_cell, sizes), strict=True)
            to_gates, to_hidden, to_cell = _joined([backward(*given) for (_, _, backward), *given in parts])
            return to_gates, to_hidden, to_cell, _over_steps(_before(chains, starts), to_gates)

        outputs, *last = _joined([(tf.stack(outputs), *states) for outputs, states, _ in chains])
        return (outputs, *last), gradient

    return run(projected, hidden, cell, recurrent)


def _lstm_chain(projected: Any, hidden: Any, cell: Any, recurrent: Any) -> Chain:
    outputs, kept = [], []
    start = hidden
    for given in tf.unstack(projected):
        enter, forget, candidate, leave = tf.split(given + tf.matmul(hidden, recurrent), 4, axis=-1)
        enter, forget, leave = tf.sigmoid(enter), tf.sigmoid(forget), tf.sigmoid(leave)
        candidate = tf.tanh(candidate)
        kept.append((enter, forget, candidate, leave, cell))
        cell = forget * cell + enter * candidate
        bent = tf.tanh(cell)
        kept[-1] += (bent,)
        hidden = leave * bent
        outputs.append(hidden)

    def backward(to_outputs: tf.Tensor, to_cell: tf.Tensor) -> Any:
        to_hidden = tf.zeros_like(start)
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
        return tf.stack(to_gates[::-1]), to_hidden, to_cell

    return outputs, (cell,), backward


def gru(projected: tf.Tensor, hidden: Any, recurrent: Any, bias: Any, sizes: Sequence[int]) -> Any:
    """Run one GRU with Keras's reset_after, unrolled. projected: the inputs times their kernel, and their bias (time,
    batch, 3 * units), time being known, gates in Keras's order z, r, h; hidden: (batch, units); bias: (3 * units,),
    that of the recurrent kernel. sizes: the rows of each part; none, if there is one. Returns all outputs (time, batch,
    units)."""

    @tf.custom_gradient
    def run(projected: Any, hidden: Any, recurrent: Any, bias: Any) -> Any:
        given, starts = _parted(projected, sizes), _parted(hidden, sizes)
        chains = [_gru_chain(*part, recurrent, bias) for part in zip(given, starts, strict=True)]

        def gradient(to_outputs: tf.Tensor) -> Any:
            parts = zip(chains, _parted(to_outputs, sizes), strict=True)
            to_given, to_recurrent, to_hidden = _joined([backward(given) for (_, _, backward), given in parts])
            to_kernel = _over_steps(_before(chains, starts), to_recurrent)
            return to_given, to_hidden, to_kernel, tf.reduce_sum(to_recurrent, axis=(0, 1))

        return _joined([(tf.stack(outputs),) for outputs, _, _ in chains])[0], gradient

    return run(projected, hidden, recurrent, bias)


def _gru_chain(projected: Any, hidden: Any, recurrent: Any, bias: Any) -> Chain:
    outputs, kept = [], []
    start = hidden
    for given in tf.unstack(projected):
        update, reset, candidate = tf.split(given, 3, axis=-1)
        of_update, of_reset, of_candidate = tf.split(tf.matmul(hidden, recurrent) + bias, 3, axis=-1)
        update, reset = tf.sigmoid(update + of_update), tf.sigmoid(reset + of_reset)
        candidate = tf.tanh(candidate + reset * of_candidate)
        kept.append((update, reset, candidate, of_candidate, hidden))
        hidden = candidate + update * (hidden - candidate)
        outputs.append(hidden)

    def backward(to_outputs: tf.Tensor) -> Any:
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
        return tf.stack(to_given[::-1]), tf.stack(to_recurrent[::-1]), to_hidden

    return outputs, (), backward


def _parted(values: Any, sizes: Sequence[int]) -> list[Any]:
    """Values (time, batch, n) or (batch, n), cut along the batch."""
    return tf.split(values, sizes, axis=-2) if sizes else [values]


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What each part has, joined along the batch."""
    return [values[0] if len(values) == 1 else tf.concat(values, axis=-2) for values in zip(*parts, strict=True)]


def _before(chains: Sequence[Chain], starts: Sequence[Any]) -> tf.Tensor:
    """The states that each step began from (time, batch, units)."""
    parts = zip(chains, starts, strict=True)
    return _joined([(tf.stack([start, *outputs[:-1]]),) for (outputs, _, _), start in parts])[0]


def _over_steps(values: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """The gradient of a kernel (features, gates) that multiplied `values` in each step."""
    rows = tf.reshape(values, (-1, values.shape[-1]))
    return tf.matmul(rows, tf.reshape(gradients, (-1, gradients.shape[-1])), transpose_a=True)
