"""Values that hold data: a `Split` of rows, in memory or read as they are needed, and a `Dataset` of two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from unidl.backend import Batches, Tree
from unidl.data.numbers import computed, is_computed
from unidl.data.refused import refuse_batches
from unidl.data.source import Column, Source, subset
from unidl.data.streaming import is_mapped, is_streamed, is_too_large
from unidl.data.table_form import TableForm
from unidl.data.tokenizer import Tokenizer
from unidl.data.trees import leaves, map_leaves, named_leaves, stacking
from unidl.data.watch import Watch
from unidl.errors import DataError
from unidl.shortening import listed, shortened, shown

__all__ = ["Dataset", "Split", "leaves", "map_leaves", "named_leaves", "take"]

MANY_PARTS = 20
"""A list of this many arrays is more likely a list of samples than of inputs."""

Kind = Literal["images", "text", "arrays", "table", "clips"]


@dataclass(frozen=True, eq=False)
class Split(Batches):
    """Rows to train or test on, and what their numbers mean.

    `x`, `y` and `sample_weight` are anything that NumPy reads as an array, or a dict, list or tuple of such, kept as it
    is nested; all of the same length. A list of numbers, or of lists of numbers, is one array; a list of arrays is a
    nest. float64 becomes float32, as in Keras's own `fit`, so that every backend computes on the same numbers; that of
    a memory-mapped file, and of an array too large to copy, row by row as it is read. The columns of a `Source` stand
    where arrays stand, and are read when they are needed. `len` of a split is its number of rows.

    Args:
        x: The inputs, (rows, ...).
        y: What is to be predicted, (rows, ...); None for prediction.
        sample_weight: Weight of each row, (rows,) or (rows, steps); None for equal weights.
        class_names: The name of each label, for images and texts with classes.
        vocabulary: The word of each token, for text; token 0 is padding and token 1 stands for every unknown word.
        table: What was learned of the columns, for a table of numbers and categories.
        watch: What checks the rows of a source as they are read; `Trainer` sets it.
        tokenizer: What made the rows from texts, for a pretrained model; it is kept with the model.
        head_names: Where y is a dict with an array for each head of a model, the names of the classes of each head;
            empty ones for a number.

    Raises:
        DataError: If lengths differ, there is no row, or NumPy cannot read a part as one array.

    Examples:
        >>> import numpy as np
        >>> import unidl
        >>> split = unidl.Split(np.zeros((6, 3)), [0, 1, 0, 1, 0, 1], class_names=("cat", "dog"))
        >>> len(split), split.x.dtype.name, split.y.shape
        (6, 'float32', (6,))
    """

    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    table: TableForm | None = field(default=None, repr=False)
    watch: Watch | None = field(default=None, repr=False)
    tokenizer: Tokenizer | None = field(default=None, repr=False)
    head_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"], repr=False)

    def __post_init__(self) -> None:
        for part in ("x", "y", "sample_weight"):
            for place, value in named_leaves(getattr(self, part), part):
                refuse_batches(value, place)
            object.__setattr__(self, part, _as_arrays(getattr(self, part), part))
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        _require_same_length(self)

    def __len__(self) -> int:
        return len(leaves(self.x)[0])

    @cached_property
    def is_streamed(self) -> bool:
        """Whether the rows are read as they are needed.

        Those of a memory-mapped file are, such as `numpy.load(path, mmap_mode="r")` gives, those of a source, and those
        that would fill half of the memory that is free now.
        """
        return is_streamed(self)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set, split once for training and test.

    Args:
        name: What the data set is called.
        kind: What the rows are, so that a model of the right form can be built: "images", "text", "arrays",
            "table" or "clips".
        train: The rows to train on.
        test: The rows to test on.
        origin: Where the data came from, with the hash of everything that can change. It is stored with every run, so
            its values are JSON's.

    Examples:
        >>> import numpy as np
        >>> import unidl
        >>> train = unidl.Split(np.zeros((6, 3)), np.zeros(6))
        >>> test = unidl.Split(np.zeros((2, 3)), np.zeros(2))
        >>> data = unidl.Dataset("zeros", "arrays", train, test)
        >>> len(data.train), len(data.test)
        (6, 2)
    """

    name: str
    kind: Kind
    train: Split
    test: Split
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each label, for images and texts with classes; empty otherwise."""
        return self.train.class_names

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each token, for text; empty otherwise."""
        return self.train.vocabulary

    @property
    def table(self) -> TableForm | None:
        """What was learned of the columns, for a table of numbers and categories; None otherwise."""
        return self.train.table


def take(split: Split, rows: Any) -> Split:
    """Return some rows of `split`. rows: what indexes the first axis, as numbers, a mask or a slice."""
    index = rows if isinstance(rows, slice) else np.asarray(rows)
    chosen: dict[int, Source] = {}

    def pick(array: Any) -> Any:
        if not isinstance(array, Column):
            return array[index]
        source = array.source
        if id(source) not in chosen:
            chosen[id(source)] = subset(source, np.arange(len(source))[index])
        return replace(array, source=chosen[id(source)])

    return replace(
        split,
        watch=None,  # whose rows have other numbers
        x=map_leaves(pick, split.x),
        y=map_leaves(pick, split.y),
        sample_weight=map_leaves(pick, split.sample_weight),
    )


def tell_of_sources(say: Callable[[str], None], *data: Split | None) -> None:
    """Say what the sources of some data have to tell, such as which files were skipped."""
    for split in data:
        for part in () if split is None else split.parts():
            for leaf in leaves(part):
                tell = getattr(leaf.source, "tell", None) if isinstance(leaf, Column) else None
                if tell is not None:
                    tell(say)


def _as_arrays(tree: Tree, part: str) -> Tree:
    return map_leaves(lambda leaf: _as_array(leaf, part), tree)


def _as_array(value: Any, part: str) -> Any:
    """One leaf as an array of at least one axis, or the column that it is."""
    if isinstance(value, Column):
        return value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        # Ragged lists; tensors that live on a GPU or need a gradient. The error itself says which.
        raise DataError(f"NumPy cannot read {part} as one array: {shortened(error)}") from error
    if array.dtype.hasobject:
        raise DataError(
            f"{part} is not an array of numbers but {_described(value)}. Pass NumPy arrays, or a dict, list or "
            "tuple of NumPy arrays, with one row for each sample."
        )
    if array.dtype.type is np.void:
        fields = listed(array.dtype.names or ("bytes without a meaning",))
        raise DataError(
            f"{part} is not an array of numbers but of records ({fields}). Pass one array per field, or all as one: "
            f"numpy.lib.recfunctions.structured_to_unstructured({part})."
        )
    if array.ndim == 0:
        raise DataError(f"{part} is the single value {shown(value)}. Pass an array with one row for each sample.")
    if is_computed(array) or is_mapped(array) or is_too_large(array.nbytes):
        return array
    return computed(array)


def _described(value: Any) -> str:
    kind = type(value)
    if kind is np.ndarray:
        return "a NumPy array of Python objects"
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"of the type {name}"


def _require_same_length(split: Split) -> None:
    if not leaves(split.x):
        raise DataError("There is no x: the data needs at least one input array.")
    lengths: dict[str, int] = {}
    for part in ("x", "y", "sample_weight"):
        for name, array in named_leaves(getattr(split, part), part):
            lengths[name] = len(array)
    if len(set(lengths.values())) > 1:
        found = listed(f"{name} has {length}" for name, length in lengths.items())
        advice = "Row k of every part belongs to the same sample."
        for part in ("x", "y"):
            count = len(getattr(split, part)) if isinstance(getattr(split, part), (list, tuple)) else 0
            if count >= MANY_PARTS or count in lengths.values():
                advice = stacking(getattr(split, part), part) or advice
        raise DataError(f"The parts of the data must have the same number of rows: {found}. {advice}")
    if 0 in lengths.values():
        raise DataError(f"The data has no rows: {listed(lengths)} are empty. Pass at least one sample.")
