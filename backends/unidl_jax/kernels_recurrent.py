"""LSTM and GRU that compute the gradients of the weights as one matrix product over all steps instead of step by step;
the inputs are multiplied by their kernel in advance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_vjp
def lstm(projected: jax.Array, hidden: Any, cell: Any, recurrent: Any) -> tuple[Any, Any]:
    """Run one LSTM. projected: the inputs times their kernel plus bias (time, batch, 4 * units), gates in Keras's
    order i, f, c, o; hidden, cell: (batch, units). Returns the outputs of all steps (time, batch, units), and the last
    cell."""
    (outputs, last), _ = _lstm_forward(projected, hidden, cell, recurrent)
    return outputs, last


def _lstm_forward(projected: Any, hidden: Any, cell: Any, recurrent: Any) -> Any:
    def step(carried: Any, given: jax.Array) -> Any:
        before, cell_before = carried
        enter, forget, candidate, leave = jnp.split(given + before @ recurrent, 4, axis=-1)
        enter, forget, leave = jax.nn.sigmoid(enter), jax.nn.sigmoid(forget), jax.nn.sigmoid(leave)
        candidate = jnp.tanh(candidate)
        cell_after = forget * cell_before + enter * candidate
        bent = jnp.tanh(cell_after)
        after = leave * bent
        return (after, cell_after), (after, cell_before, bent, (enter, forget, candidate, leave))

    (_, last), (outputs, cells, bent, gates) = jax.lax.scan(step, (hidden, cell), projected)
    return (outputs, last), (hidden, outputs, cells, bent, gates, recurrent)


def _lstm_backward(saved: Any, gradients: Any) -> Any:
    hidden, outputs, cells, bent, gates, recurrent = saved

    def step(carried: Any, kept: Any) -> Any:
        to_hidden, to_cell = carried
        to_output, cell_before, bent, (enter, forget, candidate, leave) = kept
        to_hidden = to_hidden + to_output
        to_cell = to_cell + to_hidden * leave * (1 - bent * bent)
        to_gates = jnp.concatenate(
            [
                to_cell * candidate * enter * (1 - enter),
                to_cell * cell_before * forget * (1 - forget),
                to_cell * enter * (1 - candidate * candidate),
                to_hidden * bent * leave * (1 - leave),
            ],
            axis=-1,
        )
        return (to_gates @ recurrent.T, to_cell * forget), to_gates

    to_outputs, to_last = gradients
    kept = (to_outputs, cells, bent, gates)
    start = (jnp.zeros_like(hidden), to_last)
    (to_hidden, to_cell), to_gates = jax.lax.scan(step, start, kept, reverse=True)
    before = jnp.concatenate([hidden[None], outputs[:-1]])
    return to_gates, to_hidden, to_cell, _over_steps(before, to_gates)


lstm.defvjp(_lstm_forward, _lstm_backward)


@jax.custom_vjp
def gru(projected: jax.Array, hidden: Any, recurrent: Any, bias: Any) -> jax.Array:
    """Run one GRU with Keras's reset_after. projected: the inputs times their kernel plus their bias (time, batch,
    3 * units), gates in Keras's order z, r, h; hidden: (batch, units); bias: (3 * units,), that of the recurrent
    kernel. Returns all outputs (time, batch, units)."""
    outputs, _ = _gru_forward(projected, hidden, recurrent, bias)
    return outputs


def _gru_forward(projected: Any, hidden: Any, recurrent: Any, bias: Any) -> Any:
    def step(before: jax.Array, given: jax.Array) -> Any:
        update, reset, candidate = jnp.split(given, 3, axis=-1)
        of_update, of_reset, of_candidate = jnp.split(before @ recurrent + bias, 3, axis=-1)
        update, reset = jax.nn.sigmoid(update + of_update), jax.nn.sigmoid(reset + of_reset)
        candidate = jnp.tanh(candidate + reset * of_candidate)
        after = update * before + (1 - update) * candidate
        return after, (after, before, of_candidate, (update, reset, candidate))

    _, (outputs, *kept) = jax.lax.scan(step, hidden, projected)
    return outputs, (hidden, kept, recurrent)


def _gru_backward(saved: Any, to_outputs: jax.Array) -> Any:
    hidden, kept, recurrent = saved

    def step(to_hidden: jax.Array, kept: Any) -> Any:
        to_output, before, of_candidate, (update, reset, candidate) = kept
        to_hidden = to_hidden + to_output
        to_candidate = to_hidden * (1 - update) * (1 - candidate * candidate)
        to_update = to_hidden * (before - candidate) * update * (1 - update)
        to_reset = to_candidate * of_candidate * reset * (1 - reset)
        to_given = jnp.concatenate([to_update, to_reset, to_candidate], axis=-1)
        to_recurrent = jnp.concatenate([to_update, to_reset, to_candidate * reset], axis=-1)
        return to_recurrent @ recurrent.T + to_hidden * update, (to_given, to_recurrent)

    steps = (to_outputs, *kept)
    to_hidden, (to_given, to_recurrent) = jax.lax.scan(step, jnp.zeros_like(hidden), steps, reverse=True)
    return to_given, to_hidden, _over_steps(kept[0], to_recurrent), to_recurrent.sum(axis=(0, 1))


gru.defvjp(_gru_forward, _gru_backward)


def _over_steps(values: jax.Array, gradients: jax.Array) -> jax.Array:
    """Return the gradient of a kernel (features, gates) that multiplies `values` in each step."""
    return values.reshape(-1, values.shape[-1]).T @ gradients.reshape(-1, gradients.shape[-1])
