"""The loop of a process that trains together with others: each computes its rows of a batch, and they sum gradients
inside the `tf.function` of the loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unidl.backend import Chunk, Device, Group, Share, Tree
from unidl_tensorflow.joining import joined
from unidl_tensorflow.loop import TensorFlowLogs, TensorFlowLoop

log = logging.getLogger("unidl")

GROUP_KEY = 1
TIMEOUT_SECONDS = 0.0
"""None: the ranks tell one another of a failure."""

_instances = count(1)
"""Keys of the exchanges, equal on all ranks, since all trace the same steps in the same order."""
_token: list[tf.Variable] = []


class TensorFlowShare:
    """Implements `Share`: consecutive rows of a batch, one more for the first ranks if they are uneven."""

    def __init__(self, group: Group, total: int) -> None:
        rows, more = divmod(total, group.size)
        self.first = group.rank * rows + min(group.rank, more)
        self.rows = rows + (group.rank < more)
        self.total = total

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        sums: list[Any] = [None] * len(tensors)
        for dtype in sorted({tensor.dtype for tensor in tensors}, key=lambda dtype: dtype.name):
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = _sum(tf.concat([tf.reshape(tensors[place], [-1]) for place in places], 0))
            parts = tf.split(flat, [math.prod(tensors[place].shape) for place in places])
            for place, part in zip(places, parts, strict=True):
                sums[place] = tf.reshape(part, tensors[place].shape)
        return sums

    def gather(self, tensor: tf.Tensor) -> tf.Tensor:
        # A sum with zeros, exact, and possible with uneven shares; small integers have no sum.
        own: Any = tf.convert_to_tensor(tensor)
        own = tf.cast(own, tf.int32) if (own.dtype.is_integer and own.dtype.size < 4) or own.dtype.is_bool else own
        before = tf.zeros((self.first, *own.shape[1:]), own.dtype)
        after = tf.zeros((self.total - self.first - self.rows, *own.shape[1:]), own.dtype)
        return tf.cast(_summed(tf.concat([before, own, after], 0)), tensor.dtype)


@tf.custom_gradient
def _sum(tensor: tf.Tensor) -> Any:
    """A sum over all ranks; every rank's loss depends on it, so that its gradient is a sum as well."""
    return _summed(tensor), _summed


def _summed(tensor: tf.Tensor) -> tf.Tensor:
    if not _token:
        with tf.init_scope():
            _token.append(tf.Variable(0.0))  # puts the exchanges into one order on all ranks
    return tf.raw_ops.CollectiveReduceV2(
        input=tensor,
        group_size=joined().size,
        group_key=GROUP_KEY,
        instance_key=next(_instances),
        ordering_token=[_token[0].handle],
        merge_op="Add",
        final_op="Id",
        communication_hint="auto",
        timeout_seconds=TIMEOUT_SECONDS,
    )


class SharedTensorFlowLoop(TensorFlowLoop):
    """Implements `TrainLoop` for one of several processes."""

    def __init__(
        self,
        model: keras.Model,
        device: Device,
        steps: int | None,
        within: Callable[[Share], AbstractContextManager[Any]],
    ) -> None:
        super().__init__(model, device, steps)
        self._within = within
        self._share: TensorFlowShare | None = None

    def run(self, chunk: Chunk) -> TensorFlowLogs:
        return self._of_share(super().run, chunk)

    def test(self, chunk: Chunk) -> TensorFlowLogs:
        return self._of_share(super().test, chunk)

    def predict(self, chunk: Chunk) -> Tree:
        own = _own(chunk)
        if own is None:
            return super().predict(chunk)
        share, rows = own
        outputs = super().predict(rows)
        return keras.tree.map_structure(lambda array: _whole(array, share, len(chunk.rows)), outputs)

    def _of_share(self, compute: Callable[[Chunk], TensorFlowLogs], chunk: Chunk) -> TensorFlowLogs:
        own = _own(chunk)
        if own is None:
            return compute(chunk)
        self._share, rows = own
        try:
            return compute(rows)
        finally:
            self._share = None

    def _sharing(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._share is None else self._within(self._share)

    def _uses_xla(self) -> bool:
        if self._model.jit_compile:
            log.info("several processes train without TensorFlow's XLA, which does not exchange tensors between them")
        return False

    def _form(self) -> tuple[int, ...]:
        # Shares of batches of other sizes may be equally large.
        return () if self._share is None else (self._share.total,)


def _own(chunk: Chunk) -> tuple[TensorFlowShare, Chunk] | None:
    """Return the share of this process and its rows; None if there are too few for all processes."""
    total, group = chunk.rows.shape[1], joined()
    if total < group.size:
        return None
    share = TensorFlowShare(group, total)
    rows = np.ascontiguousarray(chunk.rows[:, share.first : share.first + share.rows])
    return share, Chunk(chunk.data, rows, chunk.partial)


def _whole(array: np.ndarray[Any, Any], share: TensorFlowShare, steps: int) -> np.ndarray[Any, Any]:
    """Return the outputs of all processes: a sum with zeros, which is exact."""
    whole = np.zeros((steps, share.total, *array.shape[1:]), array.dtype)
    whole[:, share.first : share.first + share.rows] = array.reshape(steps, share.rows, *array.shape[1:])
    summable: Any = tf.convert_to_tensor(whole if array.dtype.kind == "f" else whole.astype(np.int64))
    return _summed(summable).numpy().astype(array.dtype).reshape(steps * share.total, *array.shape[1:])
