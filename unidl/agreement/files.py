"""Exchange of values and bounds between processes: one array per quantity, in order of computation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

KINDS = ("output", "training output", "loss", "gradient", "weight", "losses")
"""A layer's output in inference and in training, the loss, the gradient of a weight, a weight after one step, the
losses of all steps. In this order a fault appears first where it originates."""


class Quantity(NamedTuple):
    """A compared quantity. kind: one of `KINDS`; place: a layer's output, a weight, or empty."""

    kind: str
    place: str = ""


Values: TypeAlias = dict[Quantity, np.ndarray[Any, Any]]
Bounds: TypeAlias = dict[Quantity, float]


def write(path: Path, values: Mapping[Quantity, Any]) -> None:
    """Write arrays or numbers to a file."""
    arrays: dict[str, Any] = {f"{name.kind}|{name.place}": np.asarray(value) for name, value in values.items()}
    np.savez(path, **arrays)


def read_values(path: Path) -> Values:
    """Read arrays that `write` wrote."""
    with np.load(path) as file:
        return {Quantity(*name.split("|", 1)): file[name] for name in file.files}


def read_bounds(path: Path) -> Bounds:
    """Read numbers that `write` wrote."""
    return {name: float(value) for name, value in read_values(path).items()}


def deviations(found: Values, expected: Values) -> dict[Quantity, float]:
    """Return the largest difference of each quantity; infinite where only one of the two is NaN or missing, or the
    shapes differ."""
    return {name: _deviation(found.get(name), value) for name, value in expected.items()}


def _deviation(found: np.ndarray[Any, Any] | None, expected: np.ndarray[Any, Any]) -> float:
    if found is None or found.shape != expected.shape:
        return float("inf")
    one, other = found.astype(np.float64), expected.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # of infinities
        difference = np.where(same, 0.0, np.abs(one - other))
    return float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0))
