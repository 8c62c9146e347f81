"""LSTM and GRU that compute the gradients of the weights as one matrix product over all steps instead of step by step;
the inputs are multiplied by their kernel in advance.

The batch is split into parts, each a chain of steps, that run in parallel: a single step is too small to keep
several cores busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tensorflow as tf

Steps = list[tf.Tensor]
"""Values of each step of a part; the first axis is the batch."""

Chain = tuple[Steps, tuple[tf.Tensor, ...], Callable[..., Any]]
"""The outputs of the steps of a part, its last states, and a function that propagates their gradients back."""


class Given(Protocol):
    """Inputs times their kernel plus the bias: their layout in the tensor `values`, and the parts per core.

    sizes: the rows of the batch in each part; empty if there is a single part.
    """

    values: tf.Tensor
    sizes: Sequence[int]

    def parts(self, values: tf.Tensor) -> list[Steps]:
        """Return the values of each step (batch, gates) of each part."""
        ...

    def joined(self, parts: Sequence[Steps]) -> tf.Tensor:
        """Join the values of all steps of all parts in one tensor (..., n), in the order of this class."""
        ...

    def gradient(self, joined: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the values from the joined gradient of the parts."""
        ...


class Projected:
    """Implements `Given`. values: (time, batch, gates), with a static time axis."""

    def __init__(self, values: tf.Tensor, sizes: Sequence[int]) -> None:
        self.values, self.sizes = values, sizes

    def parts(self, values: tf.Tensor) -> list[Steps]:
        return [tf.unstack(part) for part in _parted(values, self.sizes)]

    def joined(self, parts: Sequence[Steps]) -> tf.Tensor:
        return _in_one(tf.stack(steps) for steps in parts)

    def gradient(self, joined: tf.Tensor) -> tf.Tensor:
        return joined


class LookedUp:
    """Implements `Given`. values: (rows, gates), one row per token of the vocabulary; tokens: for each step (batch,),
    the rows to look up."""

    def __init__(self, values: tf.Tensor, tokens: Steps, sizes: Sequence[int]) -> None:
        self.values, self.sizes = values, sizes
        self._tokens = [list(part) for part in zip(*(_parted(step, sizes, axis=0) for step in tokens), strict=True)]

    def parts(self, values: tf.Tensor) -> list[Steps]:
        return [[tf.gather(values, tokens) for tokens in part] for part in self._tokens]

    def joined(self, parts: Sequence[Steps]) -> tf.Tensor:
        return tf.concat([step for steps in parts for step in steps], axis=0)

    def gradient(self, joined: tf.Tensor) -> tf.Tensor:
        """Sum the rows of each token. Sorting them first takes half the time of tf.math.unsorted_segment_sum."""
        tokens = self.joined(self._tokens)
        order = tf.argsort(tokens)
        return tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=joined, indices=order, segment_ids=tf.gather(tokens, order), num_segments=self.values.shape[0]
        )


def lstm(given: Given, hidden: Any, cell: Any, recurrent: Any, *, sequences: bool) -> Any:
    """Run one LSTM, unrolled. Gates in Keras's order i, f, c, o; hidden, cell: (batch, units). Returns the outputs of
    all steps (time, batch, units) or of the last one (batch, units), and the last cell."""

    @tf.custom_gradient
    def run(values: Any, hidden: Any, cell: Any, recurrent: Any) -> Any:
        starts, cells = (_parted(states, given.sizes) for states in (hidden, cell))
        chains = [_lstm_chain(*part, recurrent) for part in zip(given.parts(values), starts, cells, strict=True)]

        def gradient(to_outputs: tf.Tensor, to_cell: tf.Tensor) -> Any:
            to_steps = _of_steps(to_outputs, chains, given.sizes, sequences)
            parts = zip(chains, to_steps, _parted(to_cell, given.sizes), strict=True)
            to_gates, to_hidden, to_cells = zip(*(back(*to_part) for (_, _, back), *to_part in parts), strict=True)
            to_all = given.joined(to_gates)
            to_recurrent = _over_steps(given.joined(_before(chains, starts)), to_all)
            return given.gradient(to_all), _in_one(to_hidden), _in_one(to_cells), to_recurrent

        return (_outputs(chains, sequences), _in_one([last for _, (last,), _ in chains])), named(gradient)

    return run(given.values, hidden, cell, recurrent)


def _lstm_chain(projected: Steps, hidden: Any, cell: Any, recurrent: Any) -> Chain:
    outputs, kept = [], []
    for given in projected:
        enter, forget, candidate, leave = tf.split(given + tf.matmul(hidden, recurrent), 4, axis=-1)
        enter, forget, leave = tf.sigmoid(enter), tf.sigmoid(forget), tf.sigmoid(leave)
        candidate = tf.tanh(candidate)
        kept.append((enter, forget, candidate, leave, cell))
        cell = forget * cell + enter * candidate
        bent = tf.tanh(cell)
        kept[-1] += (bent,)
        hidden = leave * bent
        outputs.append(hidden)

    def backward(to_outputs: Sequence[Any], to_cell: tf.Tensor) -> Any:
        *earlier, to_hidden = to_outputs
        to_gates: list[Any] = []
        for to_output, step in zip([*reversed(earlier), None], reversed(kept), strict=True):
            enter, forget, candidate, leave, before, bent = step
            to_cell += tf.raw_ops.TanhGrad(y=bent, dy=to_hidden * leave)
            gates = (
                tf.raw_ops.SigmoidGrad(y=enter, dy=to_cell * candidate),
                tf.raw_ops.SigmoidGrad(y=forget, dy=to_cell * before),
                tf.raw_ops.TanhGrad(y=candidate, dy=to_cell * enter),
                tf.raw_ops.SigmoidGrad(y=leave, dy=to_hidden * bent),
            )
            to_gates.append(tf.concat(gates, axis=-1))
            to_hidden = tf.matmul(to_gates[-1], recurrent, transpose_b=True)
            if to_output is not None:
                to_hidden += to_output
            to_cell *= forget
        return to_gates[::-1], to_hidden, to_cell

    return outputs, (cell,), backward


def gru(given: Given, hidden: Any, recurrent: Any, bias: Any, *, sequences: bool) -> Any:
    """Run one GRU with Keras's reset_after, unrolled. Gates in Keras's order z, r, h; hidden: (batch, units); bias:
    (3 * units,), that of the recurrent kernel. Returns the outputs of all steps (time, batch, units) or of the last one
    (batch, units)."""

    @tf.custom_gradient
    def run(values: Any, hidden: Any, recurrent: Any, bias: Any) -> Any:
        starts = _parted(hidden, given.sizes)
        chains = [_gru_chain(*part, recurrent, bias) for part in zip(given.parts(values), starts, strict=True)]

        def gradient(to_outputs: tf.Tensor) -> Any:
            to_steps = _of_steps(to_outputs, chains, given.sizes, sequences)
            parts = (back(to_part) for (_, _, back), to_part in zip(chains, to_steps, strict=True))
            to_given, to_products, to_hidden = zip(*parts, strict=True)
            to_all = given.joined(to_products)
            to_recurrent = _over_steps(given.joined(_before(chains, starts)), to_all)
            to_bias = tf.raw_ops.BiasAddGrad(out_backprop=to_all)
            return given.gradient(given.joined(to_given)), _in_one(to_hidden), to_recurrent, to_bias

        return _outputs(chains, sequences), named(gradient)

    return run(given.values, hidden, recurrent, bias)


def _gru_chain(projected: Steps, hidden: Any, recurrent: Any, bias: Any) -> Chain:
    outputs, kept = [], []
    for given in projected:
        update, reset, candidate = tf.split(given, 3, axis=-1)
        of_update, of_reset, of_candidate = tf.split(tf.matmul(hidden, recurrent) + bias, 3, axis=-1)
        update, reset = tf.sigmoid(update + of_update), tf.sigmoid(reset + of_reset)
        candidate = tf.tanh(candidate + reset * of_candidate)
        kept.append((update, reset, candidate, of_candidate, hidden))
        hidden = candidate + update * (hidden - candidate)
        outputs.append(hidden)

    def backward(to_outputs: Sequence[Any]) -> Any:
        *earlier, to_hidden = to_outputs
        to_given: list[Any] = []
        to_products: list[Any] = []
        for to_output, step in zip([*reversed(earlier), None], reversed(kept), strict=True):
            update, reset, candidate, of_candidate, before = step
            to_candidate = tf.raw_ops.TanhGrad(y=candidate, dy=to_hidden * (1 - update))
            to_update = tf.raw_ops.SigmoidGrad(y=update, dy=to_hidden * (before - candidate))
            to_reset = tf.raw_ops.SigmoidGrad(y=reset, dy=to_candidate * of_candidate)
            to_given.append(tf.concat((to_update, to_reset, to_candidate), axis=-1))
            to_products.append(tf.concat((to_update, to_reset, to_candidate * reset), axis=-1))
            to_hidden = to_hidden * update + tf.matmul(to_products[-1], recurrent, transpose_b=True)
            if to_output is not None:
                to_hidden += to_output
        return to_given[::-1], to_products[::-1], to_hidden

    return outputs, (), backward


def _outputs(chains: Sequence[Chain], sequences: bool) -> tf.Tensor:
    """Return the outputs of all steps (time, batch, units), or of the last one (batch, units)."""
    return _in_one(tf.stack(outputs) if sequences else outputs[-1] for outputs, _, _ in chains)


def _of_steps(values: tf.Tensor, chains: Sequence[Chain], sizes: Sequence[int], sequences: bool) -> list[list[Any]]:
    """Split what `_outputs` joined into the steps of each part; None for steps that it omitted."""
    parts = _parted(values, sizes)
    if sequences:
        return [tf.unstack(part) for part in parts]
    return [[*[None] * (len(outputs) - 1), part] for (outputs, _, _), part in zip(chains, parts, strict=True)]


def _before(chains: Sequence[Chain], starts: Sequence[Any]) -> list[Steps]:
    """Return the states (batch, units) before each step of each part."""
    return [[start, *outputs[:-1]] for (outputs, _, _), start in zip(chains, starts, strict=True)]


def _parted(values: Any, sizes: Sequence[int], axis: int = -2) -> list[Any]:
    """Split values along the batch."""
    return tf.split(values, sizes, axis=axis) if sizes else [values]


def _in_one(parts: Iterable[tf.Tensor]) -> tf.Tensor:
    """Join the values (..., batch, n) of the parts along the batch."""
    values = list(parts)
    return values[0] if len(values) == 1 else tf.concat(values, axis=-2)


def _over_steps(values: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return the gradient of a kernel (features, gates) that multiplies `values` in each step."""
    rows = tf.reshape(values, (-1, values.shape[-1]))
    return tf.matmul(rows, tf.reshape(gradients, (-1, gradients.shape[-1])), transpose_a=True)


def named(gradient: Any) -> Any:
    """Return a gradient whose operations have the names of the layers that run now, as those of TensorFlow's own
    gradients have; profiles show them."""
    scope = tf.get_current_name_scope()

    def inside(*given: Any) -> Any:
        with tf.name_scope(f"gradient_tape/{scope}/" if scope else "gradient_tape/"):
            return gradient(*given)

    return inside
