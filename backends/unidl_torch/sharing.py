"""The loop of a process that trains together with others: each computes its rows of a batch, and they sum gradients
inside the traced step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import torch
import torch.distributed as dist

from unidl.backend import Chunk, Share, Tree
from unidl_torch.loop import TorchLogs, TorchLoop, new_steps

collectives: Any = torch.ops._c10d_functional
"""Collectives that a trace records; those of `torch.distributed` write to their argument behind its back."""


class TorchShare:
    """Implements `Share`: consecutive rows of a batch, one more for the first ranks if they are uneven."""

    def __init__(self, rank: int, size: int, total: int) -> None:
        rows, more = divmod(total, size)
        self.first = rank * rows + min(rank, more)
        self.rows = rows + (rank < more)
        self.total = total

    def sum(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        sums: list[Any] = [None] * len(tensors)
        for dtype in {tensor.dtype for tensor in tensors}:
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = torch.cat([tensors[place].reshape(-1) for place in places])
            parts = torch.split(_Sum.apply(flat), [tensors[place].numel() for place in places])
            for place, part in zip(places, parts, strict=True):
                sums[place] = part.reshape(tensors[place].shape)
        return sums

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        # A sum with zeros, exact, and possible with uneven shares; gloo has no sum of booleans.
        own = tensor.detach()
        own = own.to(torch.uint8) if own.dtype == torch.bool else own
        before = own.new_zeros((self.first, *own.shape[1:]))
        after = own.new_zeros((self.total - self.first - self.rows, *own.shape[1:]))
        return _summed(torch.cat([before, own, after])).to(tensor.dtype)


class _Sum(torch.autograd.Function):
    """A sum over all ranks; every rank's loss depends on it, so that its gradient is a sum as well."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _summed(tensor)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


def _summed(tensor: torch.Tensor) -> torch.Tensor:
    group: Any = dist.group.WORLD
    return collectives.wait_tensor(collectives.all_reduce(tensor.contiguous(), "sum", group.group_name))


class SharedTorchLoop(TorchLoop):
    """Implements `TrainLoop` for one of several processes."""

    def __init__(
        self,
        model: keras.Model,
        device: torch.device,
        steps: int | None,
        within: Callable[[Share], AbstractContextManager[Any]],
    ) -> None:
        super().__init__(model, device, steps)
        self._within = within
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._share: TorchShare | None = None
        # A trace holds the sizes of its share: shares of batches of other sizes may be equally large.
        self._of_totals: dict[int, Any] = {}

    def run(self, chunk: Chunk) -> TorchLogs:
        return self._of_share(super().run, chunk)

    def test(self, chunk: Chunk) -> TorchLogs:
        return self._of_share(super().test, chunk)

    def predict(self, chunk: Chunk) -> Tree:
        own = self._own(chunk)
        if own is None:
            return super().predict(chunk)
        share, rows = own
        outputs = super().predict(rows)
        return keras.tree.map_structure(lambda array: self._whole(array, share, len(chunk.rows)), outputs)

    def _of_share(self, compute: Callable[[Chunk], TorchLogs], chunk: Chunk) -> TorchLogs:
        total = chunk.rows.shape[1]
        if total not in self._of_totals:
            self._of_totals[total] = new_steps(self._model)
            self._steps = (*self._steps, *self._of_totals[total])
        self._train, self._test, _ = self._of_totals[total]
        own = self._own(chunk)
        if own is None:
            return compute(chunk)
        self._share, rows = own
        try:
            return compute(rows)
        finally:
            self._share = None

    def _own(self, chunk: Chunk) -> tuple[TorchShare, Chunk] | None:
        """Return the share of this process and its rows; None if there are too few for all processes."""
        total = chunk.rows.shape[1]
        if total < self._size:
            return None
        share = TorchShare(self._rank, self._size, total)
        rows = np.ascontiguousarray(chunk.rows[:, share.first : share.first + share.rows])
        return share, Chunk(chunk.data, rows, chunk.partial)

    def _whole(self, array: np.ndarray[Any, Any], share: TorchShare, steps: int) -> np.ndarray[Any, Any]:
        """Return the outputs of all processes: a sum with zeros, which is exact."""
        whole = np.zeros((steps, share.total, *array.shape[1:]), array.dtype)
        whole[:, share.first : share.first + share.rows] = array.reshape(steps, share.rows, *array.shape[1:])
        tensor = torch.from_numpy(whole.view(np.uint8) if array.dtype == bool else whole).to(self._device)
        dist.all_reduce(tensor)
        return tensor.cpu().numpy().view(array.dtype).reshape(steps * share.total, *array.shape[1:])

    def _sharing(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._share is None else self._within(self._share)
