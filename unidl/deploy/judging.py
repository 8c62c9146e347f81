"""Comparison of what an exported file computes with the model in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from unidl.computes import BATCH, Interface
from unidl.deploy.precisions import LARGEST_CHANGE, LEAST_SAME_CLASS

Array: TypeAlias = np.ndarray[Any, Any]
Verdict: TypeAlias = Literal["agrees", "undecided", "disagrees"]

SPREAD_SHARE = 0.1
"""The largest bound, as a fraction of the spread of an output over the rows, that still tells a file that computes from
one that returns constants: an untrained model's outputs may differ by less than rounding errors."""


@dataclass(frozen=True)
class Comparison:
    """One output for some rows, computed in batches of one size.

    error: the largest difference to float64; bound: that rounding explains. spread: the largest difference of a value
    between two rows, in float64. same_class: the share of rows with the same largest value along the last axis, without
    those that are ties within the bound; None for a single value. length: of the second axis, where it is free.
    in_fewer_bits: whether the file is in float16 or int8, see `in_fewer_bits`.
    """

    output: str
    batch: int
    length: int | None
    rows: int
    error: float
    bound: float
    spread: float
    same_class: float | None
    ties: int
    in_fewer_bits: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether rounding explains the error, and the rows differ enough to tell."""
        if not self.error <= self.bound:  # also NaN
            return "disagrees"
        if self.in_fewer_bits:
            kept = self.same_class is None or self.same_class >= LEAST_SAME_CLASS
            return "agrees" if self.spread > 0 and kept else "disagrees"
        return "agrees" if self.bound <= SPREAD_SHARE * self.spread else "undecided"

    def why_not(self) -> str | None:
        """Return what is wrong; None if it agrees."""
        where = f"output {self.output!r} in batches of {self.batch}"
        where += f" at length {self.length}" if self.length is not None else ""
        if self.verdict == "disagrees":
            said = f"{where} is off by {self.error:.2g}, bound {self.bound:.2g}"
            return said if self.same_class is None else f"{said}, {self.same_class:.1%} of the rows in the same class"
        if self.verdict == "undecided":
            return (
                f"{where} differs by only {self.spread:.2g} between rows, too little to tell with an error bound of "
                f"{self.bound:.2g} whether the file uses its inputs: train the model first"
            )
        return None


def compared(
    name: str, batch: int, length: int | None, found: Array | None, expected: Array, bound: float
) -> Comparison:
    """Compare one output. found: None, or of another shape, counts as infinitely wrong."""
    error = math.inf
    same_class: float | None = None
    ties = 0
    if found is not None and found.shape == expected.shape:
        differences = np.abs(found.astype(np.float64) - expected)
        error = float(differences.max(initial=0.0)) if not np.isnan(differences).any() else math.inf
        same_class, ties = _same_class(found, expected, bound)
    return Comparison(name, batch, length, len(expected), error, bound, _spread(expected), same_class, ties)


def in_fewer_bits(one: Comparison, found: Array | None, expected: Array) -> Comparison:
    """Return the comparison of a file in fewer bits, whose errors are no rounding of float32: all rows count, and the
    bound is a fraction of the spread."""
    same_class = one.same_class
    if found is not None and found.shape == expected.shape:
        same_class, _ = _same_class(found, expected, 0.0)
    return replace(one, bound=LARGEST_CHANGE * one.spread, same_class=same_class, ties=0, in_fewer_bits=True)


def why_not_declared(found: Interface, expected: Interface) -> str | None:
    """Return how the inputs and outputs that a file declares differ from the model's; None if they are equal."""
    for kind in ("inputs", "outputs"):
        declared, wanted = getattr(found, kind), getattr(expected, kind)
        if len(declared) != len(wanted):
            return f"it has {len(declared)} {kind}, and the model has {len(wanted)}"
        for one, other in zip(declared, wanted, strict=True):
            if one.name != other.name:
                return f"among its {kind} is {one.name!r} in place of {other.name!r}"
            if one.dtype != other.dtype:
                return f"{one.name!r} has dtype {one.dtype}, and in the model {other.dtype}"
            if kind == "inputs" and one.shape != other.shape:
                return f"{one.name!r} has shape {_written(one.shape)}, and in the model {_written(other.shape)}"
    return None


def _spread(values: Array) -> float:
    """Return the largest difference of a value between rows; infinite for a single row, which cannot tell."""
    return float(np.ptp(values, axis=0).max(initial=0.0)) if len(values) > 1 else math.inf


def _same_class(found: Array, expected: Array, bound: float) -> tuple[float | None, int]:
    if expected.ndim < 2 or expected.shape[-1] < 2:
        return None, 0
    top = np.partition(expected, -2, axis=-1)
    tied = top[..., -1] - top[..., -2] <= 2 * bound
    same = found.argmax(-1) == expected.argmax(-1)
    clear = int((~tied).sum())
    return (1.0 if clear == 0 else float(same[~tied].mean())), int(tied.sum())


def _written(shape: Sequence[int | None]) -> str:
    sizes = [BATCH if size is None and not place else size or "any" for place, size in enumerate(shape)]
    return f"({', '.join(map(str, sizes))})"
