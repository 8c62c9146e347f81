"""Interpretation of differences: which layers agree, and where a fault first appears."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from unidl.agreement.files import KINDS, Bounds

Verdict: TypeAlias = Literal["agrees", "agrees within the dtype", "disagrees"]
ORDER: tuple[Verdict, ...] = ("agrees", "agrees within the dtype", "disagrees")
LOSS, OPTIMIZER, LATER_STEPS = "the loss", "the optimizer", "the steps after the first"
"""Places of a fault outside layers."""
OUTPUTS = ("output", "training output")
LATER_OUTPUT = re.compile(r"( call \d+)?( output \d+)?$")
"""The part of a place after the path of its layer."""


@dataclass(frozen=True)
class Difference:
    """The error of one quantity against the oracle. bound: for float32; dtype_bound: for the precision that was
    used."""

    kind: str
    place: str
    error: float
    bound: float
    dtype_bound: float

    @property
    def verdict(self) -> Verdict:
        """Whether rounding explains the error."""
        if not math.isfinite(self.error):
            return "disagrees"
        if self.error <= self.bound:
            return "agrees"
        return "agrees within the dtype" if self.error <= self.dtype_bound else "disagrees"

    @property
    def share(self) -> float:
        """The error as a fraction of the bound of its precision."""
        if self.error == 0:
            return 0.0
        return self.error / self.dtype_bound if self.dtype_bound else float("inf")


@dataclass(frozen=True)
class Layer:
    """A compared layer. traits: arguments that help to explain why it disagrees."""

    path: str
    kind: str
    traits: Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """Where a computation first exceeds its bound. place: the path of a layer, or one of the constants above."""

    place: str
    layer: Layer | None
    difference: Difference


def differences(errors: Bounds, bound: Bounds, dtype_bound: Bounds) -> list[Difference]:
    """Return the difference of each quantity, in order of computation."""
    return [
        Difference(name.kind, name.place, error, bound.get(name, 0.0), dtype_bound.get(name, 0.0))
        for name, error in errors.items()
    ]


def worst(found: Sequence[Difference]) -> Verdict:
    """Return the overall verdict."""
    verdicts = {one.verdict for one in found}
    for verdict in reversed(ORDER):
        if verdict in verdicts:
            return verdict
    return "agrees"


def of_layer(found: Sequence[Difference], path: str) -> list[Difference]:
    """Return the differences of one layer: its outputs, and quantities of its weights."""
    return [one for one in found if _owner(one, {path}) == path]


def first_fault(found: Sequence[Difference], layers: Sequence[Layer]) -> Fault | None:
    """Return where a fault first appears; None if there is none.

    In the forward pass this is the first layer whose output is wrong. Gradients flow backward, so their fault is in the
    last layer whose gradient is wrong, or between it and the next one with weights.
    """
    known = {layer.path: layer for layer in layers}
    places = {path: number for number, path in enumerate(known)}
    for kind in KINDS:
        bad = [one for one in found if one.kind == kind and one.verdict == "disagrees"]
        if not bad:
            continue
        owners = [_owner(one, known) for one in bad]
        if kind in ("loss", "losses"):
            return Fault(LOSS if kind == "loss" else LATER_STEPS, None, bad[0])
        if kind == "weight" and len(set(owners)) > 1 and _all_learn(bad, found):
            return Fault(OPTIMIZER, None, bad[0])
        chosen = 0
        if kind == "gradient":
            chosen = max(range(len(bad)), key=lambda number: places.get(owners[number], -1))
        return Fault(owners[chosen], known.get(owners[chosen]), bad[chosen])
    return None


def _owner(one: Difference, known: Any) -> str:
    """Return the path of the known layer that a quantity belongs to: the one that owns the weight, or the one that
    encloses it."""
    if one.kind in OUTPUTS:
        return LATER_OUTPUT.sub("", one.place)
    path = one.place.rpartition("/")[0]
    while path and path not in known:
        path = path.rpartition("/")[0]
    return path


def _all_learn(bad: Sequence[Difference], found: Sequence[Difference]) -> bool:
    learning = {one.place for one in found if one.kind == "gradient"}
    return all(one.place in learning for one in bad)
