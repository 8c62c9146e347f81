"""NaN and infinity in the data: rejected if they reach the loss, accepted if the model masks or replaces them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Chunk, TrainLoop, Tree
from unidl.data.checks import NonFinite, first_non_finite
from unidl.data.dataset import Split
from unidl.data.streaming import read_rows
from unidl.data.trees import leaves
from unidl.errors import DataError
from unidl.notices import notice
from unidl.training.checking import has_own
from unidl.training.progress import Metrics

if TYPE_CHECKING:
    import keras


def tried(
    model: keras.Model, ready: Callable[[], TrainLoop], split: Split, found: NonFinite | None, batch_size: int
) -> NonFinite | None:
    """Return the row of the data that is not finite, if there is one and the model can learn from it.

    found: the first such row. The batch with the row is evaluated by the loop that `ready` returns, without changing
    weights, and `DataError` is raised if its loss is not finite. A model with a custom step cannot be checked before
    training.
    """
    if found is None or has_own(model, "train_step"):
        return found
    first = found.row // batch_size * batch_size
    rows = np.arange(first, min(first + batch_size, len(split)))
    batch = Split(*read_rows(split, rows).parts())
    loop = ready()
    try:
        loop.reset_metrics()
        metrics = loop.test(Chunk(batch, np.arange(len(batch), dtype=np.int64)[np.newaxis])).read()
    finally:
        loop.commit()
    if not _is_finite(metrics.get("loss", 0.0)):
        raise DataError(found.message)
    notice(f"{_what(found)} Its loss is finite, so training starts")
    return found


def require_finite_loss(metrics: Metrics, split: Split, name: str) -> None:
    """Raise `DataError` if the loss on the data is not finite and the data contains such values."""
    if not _is_finite(metrics.get("loss", 0.0)):
        _blame(found_streaming(split) or first_non_finite(split, name))


def require_finite_outputs(outputs: Tree, split: Split, name: str) -> None:
    """Raise `DataError` if the outputs for a non-finite row are also not finite."""
    if all_finite(outputs):
        return
    found = found_streaming(split) or first_non_finite(split, name, with_targets=False)
    if found is not None and not all(_is_finite(output[found.row : found.row + 1]) for output in leaves(outputs)):
        _blame(found)


def all_finite(outputs: Tree) -> bool:
    """Return whether no output is NaN or infinite."""
    return all(_is_finite(output) for output in leaves(outputs))


def found_streaming(split: Split) -> NonFinite | None:
    """Return the first row that is not finite among those that were read as they were needed."""
    return None if split.watch is None else split.watch.not_finite()


def _blame(found: NonFinite | None) -> None:
    if found is not None:
        raise DataError(found.message)


def _is_finite(values: Any) -> bool:
    array = np.asarray(values)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _what(found: NonFinite) -> str:
    return found.message.partition(" Repair")[0]
