"""Loops of LSTM and GRU over time with custom gradients: fewer operations than PyTorch's autograd would record."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable


class LstmLoop(torch.autograd.Function):
    """An LSTM whose steps multiply only the states. projected: (time, batch, 4 * units), gates i, f, c, o;
    it is overwritten. Returns all outputs (time, batch, units), and the last cell."""

    @staticmethod
    def forward(ctx: Any, projected: Any, hidden: Any, cell: Any, recurrent: Any) -> Any:
        units = len(recurrent)
        gates = projected
        outputs, cells = (state.new_empty(len(gates) + 1, *state.shape) for state in (hidden, cell))
        outputs[0], cells[0] = hidden, cell
        bent = torch.empty_like(cells[1:])
        # Views of all steps, created at once: one at a time they would cost as much as the smaller operations.
        state, memory = outputs.unbind(), cells.unbind()
        steps = zip(
            *(part.unbind() for part in (gates, bent, *gates.split((2 * units, units, units), 2), *gates.chunk(4, 2))),
            strict=True,
        )
        for step, (given, bend, entry, candidate, leave, enter, forget, *_) in enumerate(steps):
            given.addmm_(state[step], recurrent)
            entry.sigmoid_()
            candidate.tanh_()
            leave.sigmoid_()
            torch.addcmul(enter * candidate, forget, memory[step], out=memory[step + 1])
            torch.tanh(memory[step + 1], out=bend)
            torch.mul(leave, bend, out=state[step + 1])
        ctx.save_for_backward(recurrent, outputs, cells, bent, gates)
        return outputs[1:], cells[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        recurrent, outputs, cells, bent, gates = ctx.saved_tensors
        enter, forget, candidate, leave = gates.chunk(4, dim=2)
        # First the factors of the gates' gradients for all steps at once, then the recurrence step by step.
        to_gates = torch.empty_like(gates)
        parts = to_gates.view(*bent.shape[:2], 4, -1)
        torch.ops.aten.sigmoid_backward.grad_input(candidate, enter, grad_input=parts[:, :, 0])
        torch.ops.aten.sigmoid_backward.grad_input(cells[:-1], forget, grad_input=parts[:, :, 1])
        torch.ops.aten.tanh_backward.grad_input(enter, candidate, grad_input=parts[:, :, 2])
        torch.ops.aten.sigmoid_backward.grad_input(bent, leave, grad_input=parts[:, :, 3])
        through = torch.ops.aten.tanh_backward(leave, bent)
        to_outputs, to_cell = gradients
        to_hidden = torch.zeros_like(to_cell)
        transposed = recurrent.t()
        values = (to_outputs, through, parts[:, :, :3], parts[:, :, 3], to_gates, forget)
        steps = list(zip(*(value.unbind() for value in values), strict=True))
        for to_output, through_cell, by_cell, by_hidden, to_gate, kept in reversed(steps):
            to_hidden = to_hidden + to_output
            to_cell = torch.addcmul(to_cell, to_hidden, through_cell)
            by_cell.mul_(to_cell.unsqueeze(1))
            by_hidden.mul_(to_hidden)
            to_hidden = to_gate @ transposed
            to_cell = to_cell * kept
        to_recurrent = outputs[:-1].flatten(0, 1).t() @ to_gates.flatten(0, 1)
        return to_gates, to_hidden, to_cell, to_recurrent


class GruLoop(torch.autograd.Function):
    """A GRU with Keras's reset_after, whose gradient for the recurrent kernel is one matrix product over all steps, not
    one added up in each step. projected: (time, batch, 3 * units), gates z, r, h; bias: (3 * units,), that of the
    recurrent kernel; mask: (time, batch), false where the state stays.

    Each direction is one operation, so that a trace of a long sequence is no longer than that of a short one."""

    @staticmethod
    def forward(ctx: Any, projected: Any, hidden: Any, recurrent: Any, bias: Any, mask: Any) -> Any:
        outputs, *kept = torch.ops.unidl.gru_forward(projected, hidden, recurrent, bias, mask)
        ctx.save_for_backward(recurrent, outputs, *kept)
        return outputs[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's
        recurrent, outputs, *kept = ctx.saved_tensors
        to_given, to_recurring, to_hidden = torch.ops.unidl.gru_backward(gradients[0], recurrent, outputs, *kept)
        to_recurrent = to_recurring.flatten(0, 1)
        to_kernel = outputs[:-1].flatten(0, 1).t() @ to_recurrent
        return to_given, to_hidden, to_kernel, to_recurrent.sum(dim=0), None


library = torch.library.Library("unidl", "FRAGMENT")
library.define(
    "gru_forward(Tensor projected, Tensor hidden, Tensor recurrent, Tensor bias, Tensor? mask) -> "
    "(Tensor, Tensor, Tensor, Tensor)"
)
library.define(
    "gru_backward(Tensor to_outputs, Tensor recurrent, Tensor outputs, Tensor gates, Tensor candidates, "
    "Tensor recurring) -> (Tensor, Tensor, Tensor)"
)


def _gru_forward(projected: Any, hidden: Any, recurrent: Any, bias: Any, mask: Any) -> tuple[torch.Tensor, ...]:
    """Return the states before and after each step (time + 1, batch, units), and for each step both gates, the
    candidate and its product with the state."""
    units = len(recurrent)
    gates, candidates, recurring, outputs = [], [], [], [hidden]
    for step, given in enumerate(projected.unbind()):
        from_hidden = torch.addmm(bias, outputs[-1], recurrent)
        gates.append(torch.sigmoid(given[:, : 2 * units] + from_hidden[:, : 2 * units]))
        update, reset = gates[-1].chunk(2, dim=1)
        if mask is not None:
            update.masked_fill_(torch.logical_not(mask[step]).unsqueeze(1), 1.0)
        recurring.append(from_hidden[:, 2 * units :])
        candidates.append(torch.tanh(torch.addcmul(given[:, 2 * units :], reset, recurring[-1])))
        outputs.append(torch.lerp(candidates[-1], outputs[-1], update))
    return torch.stack(outputs), torch.stack(gates), torch.stack(candidates), torch.stack(recurring)


def _gru_backward(
    to_outputs: Any, recurrent: Any, outputs: Any, gates: Any, candidates: Any, recurring: Any
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of the projected inputs, of the products with the states (time, batch, 3 * units), and of
    the first state."""
    to_hidden = torch.zeros_like(outputs[0])
    transposed = recurrent.t()
    to_given, to_recurring = [], []
    steps = list(
        zip(*(kept.unbind() for kept in (to_outputs, outputs[:-1], gates, candidates, recurring)), strict=True)
    )
    for to_output, before, gate, candidate, product in reversed(steps):
        update, reset = gate.chunk(2, dim=1)
        to_hidden = to_hidden + to_output
        to_candidate = torch.ops.aten.tanh_backward(to_hidden - to_hidden * update, candidate)
        to_update = torch.ops.aten.sigmoid_backward(to_hidden * (before - candidate), update)
        to_reset = torch.ops.aten.sigmoid_backward(to_candidate * product, reset)
        to_given.append(torch.cat((to_update, to_reset, to_candidate), dim=1))
        to_recurring.append(torch.cat((to_update, to_reset, to_candidate * reset), dim=1))
        to_hidden = torch.addmm(to_hidden * update, to_recurring[-1], transposed)
    return torch.stack(to_given[::-1]), torch.stack(to_recurring[::-1]), to_hidden


library.impl("gru_forward", _gru_forward, "CompositeExplicitAutograd")
library.impl("gru_backward", _gru_backward, "CompositeExplicitAutograd")
