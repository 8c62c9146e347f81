"""How many classes the labels of a data set have."""

from __future__ import annotations

from unidl.data.dataset import Dataset
from unidl.errors import DataError


def class_count(data: Dataset) -> int:
    """How many classes a model needs: one a name, one a word that may come next, or up to the highest label.

    Raises `DataError` if the data has none."""
    if data.class_names or data.vocabulary:
        return len(data.class_names or data.vocabulary)
    y = data.train.y
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"'{data.name}' has no labels for a classifier: y must be whole numbers of shape (rows,), and is {y.dtype} "
            f"of shape {y.shape}."
        )
    return max(int(y.max()), int(data.test.y.max())) + 1
