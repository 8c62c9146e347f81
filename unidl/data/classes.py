"""The number of classes of a data set."""

from __future__ import annotations

from unidl.data.dataset import Dataset
from unidl.errors import DataError
from unidl.shortening import listed


def class_count(data: Dataset) -> int:
    """Return the number of classes a model needs: one per name, one per word of the vocabulary, or the highest label
    plus 1.

    Raises `DataError` if the data has none."""
    if data.class_names or data.vocabulary:
        return len(data.class_names or data.vocabulary)
    y = data.train.y
    if isinstance(y, dict):
        raise DataError(f"'{data.name}' has several things to predict for each row, {listed(y)}, and not one class.")
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"'{data.name}' has no labels for a classifier: y must be whole numbers of shape (rows,), but is {y.dtype} "
            f"of shape {y.shape}."
        )
    return max(int(y.max()), int(data.test.y.max())) + 1
