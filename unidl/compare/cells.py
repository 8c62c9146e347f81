"""What is measured: cells, and the groups whose cells are measured together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unidl.compare.workloads import workload
from unidl.errors import UsageError

IMPLEMENTATIONS = ("unidl", "unidl-features", "keras", "native")
"""Our loop; our loop with `precompute_frozen`, where a model has a frozen front; stock `compile` and `fit`; the
training loop that is written by hand in the framework alone."""
OURS = ("unidl", "unidl-features")


@dataclass(frozen=True)
class Group:
    """What cells must share to be compared. Their rounds take turns, so that drift of the machine hits all alike."""

    model: str
    device: str
    precision: str
    batch_size: int

    @property
    def title(self) -> str:
        """The group in words."""
        return f"{self.model}, batch {self.batch_size}, {self.precision}, {self.device}"


@dataclass(frozen=True)
class Cell:
    """One process that trains. twin: a second process of another cell, for what this machine can resolve."""

    backend: str
    model: str
    device: str
    precision: str
    batch_size: int
    implementation: str
    twin: bool = False

    @property
    def group(self) -> Group:
        """The group that the cell belongs to."""
        return Group(self.model, self.device, self.precision, self.batch_size)

    @property
    def title(self) -> str:
        """The cell in words, within its group."""
        return f"{self.backend} {self.implementation}{' (twin)' if self.twin else ''}"


def cells(
    *,
    models: Sequence[str],
    backends: Sequence[str],
    device: str,
    precisions: Sequence[str],
    batch_sizes: Sequence[int],
    against: Sequence[str],
    features: bool = True,
) -> dict[Group, tuple[Cell, ...]]:
    """Return every group with its cells, the twin of the first one right behind it.

    batch_sizes: none means what suits each model. against: the implementations beside our own. features: whether our
    loop is measured with `precompute_frozen` as well, where a model has a frozen front.
    Raises `UsageError` for an implementation that does not exist.
    """
    unknown = [name for name in against if name not in IMPLEMENTATIONS]
    if unknown:
        raise UsageError(f"Unknown implementation {unknown[0]!r}. Known: {', '.join(IMPLEMENTATIONS)}.")
    groups: dict[Group, tuple[Cell, ...]] = {}
    for model in models:
        work = workload(model)
        wanted = ("unidl", "unidl-features", *against) if features and work.frozen_front else ("unidl", *against)
        for precision in precisions:
            for batch_size in batch_sizes or (work.batch_size,):
                group = Group(model, device, precision, batch_size)
                members = [
                    Cell(backend, model, device, precision, batch_size, implementation)
                    for backend in backends
                    for implementation in IMPLEMENTATIONS
                    if implementation in wanted
                ]
                groups[group] = (members[0], replace(members[0], twin=True), *members[1:])
    return groups
