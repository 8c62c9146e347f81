"""LSTM and GRU with PyTorch's kernels and with unidl's."""

from __future__ import annotations

from typing import Any

import keras
import torch

from unidl.kernels import looked_up, recurs_plainly
from unidl_torch.keras_internals import GRU, LSTM, MASKED_GRU, MASKED_LSTM
from unidl_torch.kernels_images import plain_values
from unidl_torch.recurrent_loops import GruLoop, LstmLoop

_lstm, _gru, _lstm_inner_loop, _gru_inner_loop = (place.original for place in (LSTM, GRU, MASKED_LSTM, MASKED_GRU))

SPLIT = 32768
"""Number of elements above which PyTorch splits an element-wise operation among cores (at::internal::GRAIN_SIZE): below
it, oneDNN's LSTM is faster even though it computes more products."""
SHUT = 1e4
"""A value whose logistic function is 1 in float32, and that of its negative 0."""


def lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """An LSTM on the CPU with oneDNN's kernel or unidl's, where Keras runs a Python loop. inputs: (batch, time,
    features)."""
    suits = recurs_plainly(mask, activation, recurrent_activation, unroll) and not options
    states = _plain_states(initial_state_h, initial_state_c) if suits else None
    weights = plain_values(inputs, kernel, recurrent_kernel, bias) if states else None
    if states is None or weights is None:
        return _lstm(
            inputs, initial_state_h, initial_state_c, mask, kernel, recurrent_kernel, bias, activation,
            recurrent_activation, return_sequences, go_backwards, unroll, **options,
        )  # fmt: skip
    if states[0].numel() >= SPLIT and looked_up(inputs):
        of_inputs, of_hidden, offset = weights
        outputs, cell = LstmLoop.apply(_projected(inputs, of_inputs, offset, go_backwards), *states, of_hidden)
        return _answer(outputs, outputs[-1], return_sequences, cell)
    weights = _copied(*weights)
    # Copies: a stateful layer overwrites these with the new states, but the gradient still needs them.
    start = [state.clone().unsqueeze(0) for state in states]
    # Looked up in time order, neither the inputs nor their gradients need a copy.
    table, steps = _in_order(inputs, go_backwards)
    steps: Any = steps if table is None else keras.ops.take(table, steps, axis=0)
    outputs, hidden, cell = torch._VF.lstm(steps, start, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return _answer(outputs, hidden.squeeze(0), return_sequences, cell.squeeze(0))


def gru(
    inputs: Any, initial_state: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any, activation: Any,
    recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False, unroll: bool = False,
    reset_after: bool = True,
) -> Any:  # fmt: skip
    """A GRU in fewer operations on the CPU, where Keras runs a Python loop. inputs: (batch, time, features)."""
    suits = recurs_plainly(mask, activation, recurrent_activation, unroll) and reset_after
    states = _plain_states(initial_state) if suits else None
    weights = plain_values(inputs, kernel, recurrent_kernel, bias) if states else None
    if states is None or weights is None:
        return _gru(
            inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
            return_sequences, go_backwards, unroll, reset_after,
        )  # fmt: skip
    of_inputs, of_hidden = weights[2]
    projected = _projected(inputs, weights[0], of_inputs, go_backwards)
    outputs = GruLoop.apply(projected, *states, weights[1], of_hidden, None)
    return _answer(outputs, outputs[-1], return_sequences)


def _copied(kernel: Any, recurrent_kernel: Any, bias: Any) -> list[torch.Tensor]:
    """Return the weights of an LSTM in PyTorch's form, contiguous even in a trace that is run with weights of other
    layouts than those it was created with. Keras's single bias is that of the inputs."""
    in_a_row = torch.contiguous_format
    weights = [weight.t().clone(memory_format=in_a_row) for weight in (kernel, recurrent_kernel)]
    return [*weights, bias.clone(memory_format=in_a_row), torch.zeros_like(bias, memory_format=in_a_row)]


def _answer(outputs: Any, last: Any, sequences: bool, *cells: Any) -> tuple[Any, Any, list[Any]]:
    """Return results as Keras's functions do: the last output, the outputs of all steps (batch, time, units) or of the
    last, and states as separate tensors. outputs: (time, batch, units); last: (batch, units)."""
    return last, outputs.transpose(0, 1) if sequences else last.unsqueeze(1), [last.clone(), *cells]


def lstm_inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """An LSTM that skips masked steps, with oneDNN's kernel. sequences: (batch, time, features); mask: (batch, time).

    Masked steps are moved to the end, where an additional input, 1 only in these, opens the forget gate and closes the
    input gate: the cell keeps its state exactly.
    """
    mask = _alone(mask)
    states, weights = _suits_masked(self, keras.layers.LSTMCell, sequences, initial_state, mask, training)
    if weights is None:
        return _lstm_inner_loop(self, sequences, initial_state, mask, training)
    kernel, recurrent_kernel, bias = weights
    mask, steps = _in_time(self, mask.bool(), sequences)
    order = torch.argsort(torch.logical_not(mask), dim=1, stable=True)
    skipped = torch.logical_not(mask.gather(1, order)).unsqueeze(2)
    steps = torch.cat((steps.gather(1, order.unsqueeze(2).expand_as(steps)), skipped.to(steps.dtype)), dim=2)
    row = torch.zeros(4, self.units, dtype=kernel.dtype)
    row[0], row[1] = -SHUT, SHUT
    kernel = torch.cat((kernel, row.reshape(1, -1)))
    weights = _copied(kernel, recurrent_kernel, bias)
    start = [state.unsqueeze(0) for state in states]
    outputs, _, cell = torch._VF.lstm(steps, start, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
    # The output of a step is that of the latest one that was not skipped.
    latest = mask.cumsum(1) - 1
    outputs = outputs.gather(1, latest.clamp(min=0).unsqueeze(2).expand(-1, -1, self.units))
    hidden = torch.where(latest[:, -1:] < 0, states[0], outputs[:, -1])
    return _results(self, outputs, mask, latest, [hidden, cell.squeeze(0)])


def gru_inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """A GRU that skips masked steps, in fewer operations. sequences: (batch, time, features); mask: (batch, time)."""
    mask = _alone(mask)
    states, weights = _suits_masked(self, keras.layers.GRUCell, sequences, initial_state, mask, training)
    if weights is None or not self.cell.reset_after:
        return _gru_inner_loop(self, sequences, initial_state, mask, training)
    of_inputs, of_hidden = weights[2]
    projected = _projected(sequences, weights[0], of_inputs, self.go_backwards)
    [mask] = _in_time(self, mask.bool())
    outputs = GruLoop.apply(projected, *states, weights[1], of_hidden, mask.t())
    return _results(self, outputs.transpose(0, 1), mask, mask.cumsum(1) - 1, [outputs[-1]])


def _in_time(layer: Any, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Return tensors (batch, time, ...) in the order in which the layer reads them."""
    return [tensor.flip(1) if layer.go_backwards else tensor for tensor in tensors]


def _results(layer: Any, outputs: Any, mask: Any, latest: Any, states: list[Any]) -> Any:
    """Return outputs as Keras does: zeros before the first unmasked step, and in all masked ones if requested."""
    shown = mask if layer.zero_output_for_mask else latest >= 0
    outputs = torch.where(shown.unsqueeze(2), outputs, torch.zeros_like(outputs))
    last = outputs[:, -1]
    return last, outputs if layer.return_sequences else last.unsqueeze(1), states


def _alone(tensors: Any) -> Any:
    return tensors[0] if isinstance(tensors, list | tuple) else tensors


def _projected(inputs: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, backwards: bool) -> Any:
    """Return the inputs (batch, time, features) times their kernel plus the bias, in the order in which a layer reads
    them: (time, batch, gates), in new memory."""
    table, steps = _in_order(inputs, backwards)
    factors = steps.reshape(-1, inputs.shape[-1]) if table is None else table
    products = torch.addmm(bias, factors, kernel)
    return products.view(*steps.shape[:2], -1) if table is None else keras.ops.take(products, steps, axis=0)


def _in_order(inputs: torch.Tensor, backwards: bool) -> tuple[Any, Any]:
    """Return the table that the inputs (batch, time, features) were looked up in, and the row numbers (time, batch) in
    the order in which a layer reads them; None and the inputs in that order if they were not looked up."""
    table, steps = looked_up(inputs) or (None, inputs)
    steps = steps.transpose(0, 1)
    return table, steps.flip(0) if backwards else steps


def _suits_masked(
    layer: Any, cell: type, sequences: Any, states: Any, mask: Any, training: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor] | None]:
    """Return the states and weights of a layer for the fused kernels with a mask; None for the weights if the kernels
    do not apply. In those cases, such as a custom cell, Keras runs a Python loop."""
    own = layer.cell
    suits = (
        type(own) is cell
        and isinstance(mask, torch.Tensor)
        and mask.ndim == 2
        and layer.use_cudnn is not False
        and not own.recurrent_dropout
        and not (training and own.dropout)
        and recurs_plainly(None, own.activation, own.recurrent_activation, layer.unroll)
    )
    plain = _plain_states(*keras.tree.flatten(states)) if suits else None
    weights = plain_values(sequences, own.kernel, own.recurrent_kernel, own.bias) if plain else None
    return plain or [], weights


def _plain_states(*states: Any) -> list[torch.Tensor] | None:
    """Return the initial states (batch, units) if the kernels support them; a stateful layer has them as variables."""
    tensors = [state.value if isinstance(state, keras.Variable) else state for state in states]
    suits = all(
        isinstance(tensor, torch.Tensor)
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and tensor.ndim == 2
        for tensor in tensors
    )
    return tensors if suits else None
