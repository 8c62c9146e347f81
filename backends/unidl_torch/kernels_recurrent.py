"""LSTM and GRU in PyTorch's own kernels, and one of ours."""

from __future__ import annotations

import sys
from typing import Any

import keras
import torch
from keras.src import backend as keras_backend

# The package says `rnn` of the function in it.
keras_rnn = sys.modules["keras.src.backend.torch.rnn"]

_lstm = keras_backend.lstm
_gru = keras_backend.gru
_lstm_inner_loop = keras.layers.LSTM.inner_loop
_gru_inner_loop = keras.layers.GRU.inner_loop

SHUT = 1e4
"""So large that the logistic function of it is 1 in float32, and that of its negative 0."""


def lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """oneDNN's LSTM on the CPU, where Keras runs a Python loop. inputs: (batch, time, features)."""
    suits = _suits_fused(inputs, kernel, mask, bias, activation, recurrent_activation, unroll) and not options
    if not suits:
        return _lstm(
            inputs, initial_state_h, initial_state_c, mask, kernel, recurrent_kernel, bias, activation,
            recurrent_activation, return_sequences, go_backwards, unroll, **options,
        )  # fmt: skip
    weights = keras_rnn.prepare_lstm_params(kernel.value, recurrent_kernel.value, bias.value, "cpu")
    start = (initial_state_h.unsqueeze(0), initial_state_c.unsqueeze(0))
    steps = inputs.flip(1) if go_backwards else inputs
    outputs, hidden, cell = torch._VF.lstm(steps, start, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
    last = outputs[:, -1]
    return last, outputs if return_sequences else last.unsqueeze(1), [hidden.squeeze(0), cell.squeeze(0)]


def gru(
    inputs: Any, initial_state: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any, activation: Any,
    recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False, unroll: bool = False,
    reset_after: bool = True,
) -> Any:  # fmt: skip
    """A GRU in fewer operations on the CPU, where Keras runs a Python loop. inputs: (batch, time, features)."""
    suits = _suits_fused(inputs, kernel, mask, bias, activation, recurrent_activation, unroll) and reset_after
    if not suits:
        return _gru(
            inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
            return_sequences, go_backwards, unroll, reset_after,
        )  # fmt: skip
    weights = (kernel.value, recurrent_kernel.value, bias.value)
    steps = inputs.flip(1) if go_backwards else inputs
    outputs = _Gru.apply(steps.transpose(0, 1), initial_state, *weights, None)
    last = outputs[-1]
    return last, outputs.transpose(0, 1) if return_sequences else last.unsqueeze(1), [last]


def lstm_inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """An LSTM that skips masked steps, in oneDNN's kernel. sequences: (batch, time, features); mask: (batch, time).

    The steps to skip go to the end, where a further input, 1 in these alone, opens the forget gate and shuts the input
    gate: the cell keeps its state to the last bit.
    """
    mask = _alone(mask)
    if not _suits_masked(self, sequences, mask, training):
        return _lstm_inner_loop(self, sequences, initial_state, mask, training)
    mask, steps = _in_time(self, mask, sequences)
    order = torch.argsort(torch.logical_not(mask), dim=1, stable=True)
    skipped = torch.logical_not(mask.gather(1, order)).unsqueeze(2)
    steps = torch.cat((steps.gather(1, order.unsqueeze(2).expand_as(steps)), skipped.to(steps.dtype)), dim=2)
    kernel = self.cell.kernel.value
    row = torch.zeros(4, self.units, dtype=kernel.dtype)
    row[0], row[1] = -SHUT, SHUT
    kernel = torch.cat((kernel, row.reshape(1, -1)))
    weights = keras_rnn.prepare_lstm_params(kernel, self.cell.recurrent_kernel.value, self.cell.bias.value, "cpu")
    start = [state.unsqueeze(0) for state in initial_state]
    outputs, _, cell = torch._VF.lstm(steps, start, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
    # The output of a step is that of the latest one that was not skipped.
    latest = mask.cumsum(1) - 1
    outputs = outputs.gather(1, latest.clamp(min=0).unsqueeze(2).expand(-1, -1, self.units))
    hidden = torch.where(latest[:, -1:] < 0, initial_state[0], outputs[:, -1])
    return _results(self, outputs, mask, latest, [hidden, cell.squeeze(0)])


def gru_inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """A GRU that skips masked steps, in fewer operations. sequences: (batch, time, features); mask: (batch, time)."""
    mask = _alone(mask)
    if not _suits_masked(self, sequences, mask, training) or not self.cell.reset_after:
        return _gru_inner_loop(self, sequences, initial_state, mask, training)
    mask, steps = _in_time(self, mask, sequences)
    weights = (self.cell.kernel.value, self.cell.recurrent_kernel.value, self.cell.bias.value)
    outputs = _Gru.apply(steps.transpose(0, 1), _alone(initial_state), *weights, mask.t())
    return _results(self, outputs.transpose(0, 1), mask, mask.cumsum(1) - 1, [outputs[-1]])


def _in_time(layer: Any, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Tensors (batch, time, ...) in the order in which the layer reads them."""
    return [tensor.flip(1) if layer.go_backwards else tensor for tensor in tensors]


def _results(layer: Any, outputs: Any, mask: Any, latest: Any, states: list[Any]) -> Any:
    """As Keras gives them: zeros before the first step that is not skipped, and in all skipped ones if it says so."""
    shown = mask if layer.zero_output_for_mask else latest >= 0
    outputs = torch.where(shown.unsqueeze(2), outputs, torch.zeros_like(outputs))
    last = outputs[:, -1]
    return last, outputs if layer.return_sequences else last.unsqueeze(1), states


def _alone(tensors: Any) -> Any:
    return tensors[0] if isinstance(tensors, list | tuple) else tensors


class _Gru(torch.autograd.Function):
    """A GRU with Keras's reset_after, whose gradients for the weights are one matrix product over all steps, not one
    added up in each step. inputs: (time, batch, features); kernel: (features, 3 * units), gates z, r, h; mask: (time,
    batch), false where the state stays."""

    @staticmethod
    def forward(ctx: Any, inputs: Any, hidden: Any, kernel: Any, recurrent: Any, bias: Any, mask: Any) -> Any:
        units = len(recurrent)
        time, batch, features = inputs.shape
        projected = torch.addmm(bias[0], inputs.reshape(-1, features), kernel).view(time, batch, -1)
        if mask is not None:
            projected[..., :units].masked_fill_(torch.logical_not(mask).unsqueeze(2), SHUT)
        gates, candidates, recurring, outputs = [], [], [], [hidden]
        for given in projected.unbind():
            from_hidden = torch.addmm(bias[1], outputs[-1], recurrent)
            gates.append(torch.sigmoid(given[:, : 2 * units] + from_hidden[:, : 2 * units]))
            update, reset = gates[-1].chunk(2, dim=1)
            recurring.append(from_hidden[:, 2 * units :])
            candidates.append(torch.tanh(torch.addcmul(given[:, 2 * units :], reset, recurring[-1])))
            outputs.append(torch.lerp(candidates[-1], outputs[-1], update))
        stacked = torch.stack(outputs)
        ctx.save_for_backward(inputs, kernel, recurrent, stacked, *gates, *candidates, *recurring)
        return stacked[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs, kernel, recurrent, outputs, *kept = ctx.saved_tensors
        time = len(inputs)
        gates, candidates, recurring = kept[:time], kept[time : 2 * time], kept[2 * time :]
        to_hidden = torch.zeros_like(outputs[0])
        to_given, to_recurring = [], []
        for step in reversed(range(time)):
            update, reset = gates[step].chunk(2, dim=1)
            candidate = candidates[step]
            to_hidden = to_hidden + gradients[0][step]
            to_candidate = torch.ops.aten.tanh_backward(to_hidden - to_hidden * update, candidate)
            to_update = torch.ops.aten.sigmoid_backward(to_hidden * (outputs[step] - candidate), update)
            to_reset = torch.ops.aten.sigmoid_backward(to_candidate * recurring[step], reset)
            to_given.append(torch.cat((to_update, to_reset, to_candidate), dim=1))
            to_recurring.append(torch.cat((to_update, to_reset, to_candidate * reset), dim=1))
            to_hidden = torch.addmm(to_hidden * update, to_recurring[-1], recurrent.t())
        given, recurring = (torch.cat(parts[::-1]) for parts in (to_given, to_recurring))
        return (
            (given @ kernel.t()).view(inputs.shape) if ctx.needs_input_grad[0] else None,
            to_hidden,
            inputs.reshape(len(given), -1).t() @ given,
            outputs[:-1].reshape(len(given), -1).t() @ recurring,
            torch.stack((given.sum(dim=0), recurring.sum(dim=0))),
            None,
        )


def _suits_fused(
    inputs: Any, kernel: Any, mask: Any, bias: Any, activation: Any, recurrent_activation: Any, unroll: bool
) -> bool:
    """Whether PyTorch's fused kernels compute this layer. On a GPU Keras itself takes cuDNN's."""
    return (
        mask is None
        and bias is not None
        and not unroll
        and activation is keras.activations.tanh
        and recurrent_activation is keras.activations.sigmoid
        and isinstance(inputs, torch.Tensor)
        and inputs.device.type == "cpu"
        and inputs.dtype == torch.float32 == kernel.value.dtype
    )


def _suits_masked(layer: Any, sequences: Any, mask: Any, training: bool) -> bool:
    """Whether a layer skips masked steps in the fused kernels. In the cases that are left, Keras runs a Python loop."""
    cell = layer.cell
    if mask is None or layer.use_cudnn is False or cell.recurrent_dropout or (training and cell.dropout):
        return False
    return layer.use_bias and _suits_fused(
        sequences, cell.kernel, None, cell.bias, cell.activation, cell.recurrent_activation, layer.unroll
    )


REPLACEMENTS = (
    (keras.layers.LSTM, "inner_loop", lstm_inner_loop),
    (keras.layers.GRU, "inner_loop", gru_inner_loop),
    (keras_backend, "lstm", lstm),
    (keras_backend, "gru", gru),
)
