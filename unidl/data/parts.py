"""Two parts of some data that have nothing to do with one another: no group in both, no time in the other's past."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl.data.dataset import Split, take
from unidl.data.recognising import as_split
from unidl.data.splitting import check_fraction
from unidl.errors import DataError
from unidl.random import stream


def split_by_group(data: Any, groups: Any, *, fraction: float = 0.2, seed: int = 0) -> tuple[Split, Split]:
    """Hold out whole groups of rows, such as all images of a patient.

    With rows of one group in both parts, a model would be tested on what it has learned by heart.

    Args:
        data: Rows, as in `Trainer.fit`. Rows of a source are not read.
        groups: The group of each row, of shape (rows,): numbers or words.
        fraction: The share of the rows to hold out, about: whole groups are drawn until this share is reached.
        seed: Which groups are drawn.

    Returns:
        The rows to train on, and those held out, each in the order that they had.

    Raises:
        DataError: If there is no group for each row, or only one group.

    Examples:
        >>> import numpy as np
        >>> from unidl.data import split_by_group
        >>> patients = np.repeat(["Ann", "Bob", "Eve"], 4)
        >>> train, held_out = split_by_group(np.arange(12), patients, fraction=0.3)
        >>> len(train), len(held_out)
        (8, 4)
        >>> len(set(patients[held_out.x]))
        1
    """
    split, named = as_split(data), _one_a_row(groups, "groups", data)
    check_fraction(fraction)
    _, places, counts = np.unique(named, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError(f"Cannot hold out a group: all {len(split)} rows are of one. Pass at least 2 groups.")
    drawn = stream(seed, "groups").permutation(len(counts))
    wanted, held_out, so_far = fraction * len(split), [], 0
    for group in drawn[:-1]:
        if so_far and so_far + counts[group] / 2 > wanted:
            continue  # the parts would be further from the share with it than without
        held_out.append(group)
        so_far += counts[group]
        if so_far >= wanted:
            break
    is_out = np.isin(places.reshape(-1), held_out)
    return take(split, np.flatnonzero(~is_out)), take(split, np.flatnonzero(is_out))


def split_by_time(data: Any, times: Any, *, fraction: float = 0.2) -> tuple[Split, Split]:
    """Hold out the rows of the latest times.

    A model that has seen what came later would be tested on what it knows already.

    Args:
        data: Rows, as in `Trainer.fit`. Rows of a source are not read.
        times: The time of each row, of shape (rows,): numbers, or NumPy's datetime64.
        fraction: The share of the rows to hold out, about: rows of one time stay together.

    Returns:
        The rows to train on, and those held out, each in the order of their times.

    Raises:
        DataError: If there is no time for each row, or all are of one time.

    Examples:
        >>> import numpy as np
        >>> from unidl.data import split_by_time
        >>> train, held_out = split_by_time(np.arange(5), [3, 1, 4, 2, 5], fraction=0.4)
        >>> train.x.tolist(), held_out.x.tolist()
        ([1, 3, 0], [2, 4])
    """
    split, at = as_split(data), _one_a_row(times, "times", data)
    check_fraction(fraction)
    order = np.argsort(at, kind="stable")
    ordered = at[order]
    first = min(max(round(len(ordered) * (1 - fraction)), 1), len(ordered) - 1)
    first = int(np.searchsorted(ordered, ordered[first]))
    if first == 0:
        first = int(np.searchsorted(ordered, ordered[0], side="right"))
    if first == len(ordered):
        raise DataError(f"Cannot hold out later rows: all {len(ordered)} are of one time. Pass at least 2 times.")
    return take(split, order[:first]), take(split, order[first:])


def _one_a_row(values: Any, what: str, data: Any) -> np.ndarray[Any, Any]:
    found, rows = np.asarray(values), len(as_split(data))
    if found.shape != (rows,):
        raise DataError(f"{what} must have one value for each of the {rows} rows, and has the shape {found.shape}.")
    if rows < 2:
        raise DataError("Cannot hold out rows: the data has 1 row, and 2 are needed.")
    return found
