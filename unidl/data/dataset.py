"""Values that hold data: a `Split` of rows in memory, and a `Dataset` of a training and a test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from unidl.backend import Batches


@dataclass(frozen=True, eq=False)
class Split(Batches):
    """Rows to train or test on, and what their numbers mean.

    x, y, sample_weight: anything NumPy reads as an array, or nests of it; all of the same length.
    class_names: the name of each label, for images. vocabulary: the word of each token, for text; token 0 is padding
    and token 1 stands for every unknown word. Raises `DataError` if lengths differ or there is no row.
    """

    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set, split once for training and test.

    kind: what the rows are, so that a model of the right form can be built. origin: where the data came from, with
    the hash of what can change; kept with every run.
    """

    name: str
    kind: Literal["images", "text", "arrays"]
    train: Split
    test: Split
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
