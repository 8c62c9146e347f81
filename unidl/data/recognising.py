"""Whatever is passed as data, as a `Split`: arrays, our sources, and what other libraries have."""

from __future__ import annotations

from typing import Any

from unidl.backend import Batches
from unidl.data.batch_stream import stream_of
from unidl.data.dataset import Dataset, Split
from unidl.data.foreign import kind_of
from unidl.data.samples import Samples
from unidl.data.source import Source, columns
from unidl.errors import DataError, UsageError


def as_split(data: Any) -> Split:
    """Return `data` as a `Split`: a Split, Batches, a Source, (x,), (x, y) or (x, y, sample_weight), or x alone; or
    what others made, whose samples or batches are these: see `foreign`.

    A tuple is always read as the parts; several inputs go into a dict or a list.
    """
    if isinstance(data, Split):
        return data
    if isinstance(data, Dataset):
        raise UsageError(f"'{data.name}' is a whole data set. Pass one half of it: its .train or its .test.")
    if isinstance(data, tuple):
        if not 1 <= len(data) <= 3:
            raise UsageError(
                f"A tuple of data is (x,), (x, y) or (x, y, sample_weight), not {len(data)} values. "
                "Put several inputs into a list or a dict: ([input_a, input_b], y)."
            )
        return Split(*data)
    foreign = None if isinstance(data, (Batches, Source)) else kind_of(data)
    if foreign is not None:
        return _of_others(data, *foreign)
    if isinstance(data, Source):
        data = columns(data)
    if isinstance(data, Batches):
        return Split(data.x, data.y, data.sample_weight)
    return Split(data)


def _of_others(data: Any, kind: str, what: str) -> Split:
    if kind == "iterable of samples":
        raise DataError(
            f"x is {what}, which gives samples without numbers, and unidl takes batches of such. Make batches of them, "
            "as in torch.utils.data.DataLoader(data, batch_size=32)."
        )
    if kind == "samples":
        return as_split(columns(Samples(data)))
    return stream_of(data, what, once=kind == "once")
