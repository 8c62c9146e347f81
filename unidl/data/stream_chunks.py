"""Batches that others make, as chunks: several that look alike in one, read ahead of the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from unidl.backend import Batches, Chunk
from unidl.data.batch_stream import Stream
from unidl.data.streaming import Waiting, ahead, streamed_steps
from unidl.data.trees import leaves, map_leaves

MOST_BATCHES = 8
"""Of a chunk: so few that the first step need not wait long for them."""


def stream_chunks(data: Stream, numbers: Iterable[int], waiting: Waiting | None = None) -> Iterator[Chunk]:
    """Yield the batches of these numbers in chunks of one shape, so that a compiled program sees one; a batch of
    another size comes alone."""
    most = min(MOST_BATCHES, streamed_steps(Batches(data.x, data.y, data.sample_weight), len(data)))
    return ahead(_grouped(data.read(numbers), most), waiting)


def _grouped(batches: Iterator[Batches], most: int) -> Iterator[Chunk]:
    first_form = None
    group: list[Batches] = []
    for batch in batches:
        form = _form(batch)
        first_form = first_form or form
        if group and (form != first_form or len(group) == most):
            yield _joined(group, most)
            group = []
        if form != first_form:
            rows = len(leaves(batch.x)[0])
            yield Chunk(batch, np.arange(rows, dtype=np.int64)[np.newaxis], partial=True)
            continue
        group.append(batch)
    if group:
        yield _joined(group, most)


def _joined(group: list[Batches], most: int) -> Chunk:
    """Batches one behind the other; the last one again and again behind them, up to the size of a whole group."""
    rows = len(leaves(group[0].x)[0])
    filled = group + group[-1:] * (most - len(group))
    parts = []
    for place in range(len(group[0].parts())):
        each = [iter(leaves(batch.parts()[place])) for batch in filled]
        parts.append(
            map_leaves(lambda _, each=each: np.concatenate([next(one) for one in each]), group[0].parts()[place])
        )
    return Chunk(Batches(*parts), np.arange(len(group) * rows, dtype=np.int64).reshape(len(group), rows))


def _form(batch: Batches) -> tuple[object, ...]:
    return tuple((leaf.shape, leaf.dtype) for part in batch.parts() for leaf in leaves(part))
