"""What is measured: cells, and the groups whose cells are measured together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unidl.errors import UsageError

IMPLEMENTATIONS = ("unidl", "keras", "native")
"""Our loop; stock `compile` and `fit`; the training loop that is written by hand in the framework alone."""

BATCH_SIZE = 128
BATCH_SIZES = {"transfer": 16}
"""What a model trains with if nobody says; `BATCH_SIZE` for the others."""


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
) -> dict[Group, tuple[Cell, ...]]:
    """Return every group with its cells, the twin of the first one right behind it.

    batch_sizes: none means what suits each model. against: the implementations beside our own.
    Raises `UsageError` for an implementation that does not exist.
    """
    unknown = [name for name in against if name not in IMPLEMENTATIONS]
    if unknown:
        raise UsageError(f"Unknown implementation {unknown[0]!r}. Known: {', '.join(IMPLEMENTATIONS)}.")
    implementations = [name for name in IMPLEMENTATIONS if name == "unidl" or name in against]
    groups: dict[Group, tuple[Cell, ...]] = {}
    for model in models:
        for precision in precisions:
            for batch_size in batch_sizes or (BATCH_SIZES.get(model, BATCH_SIZE),):
                group = Group(model, device, precision, batch_size)
                members = [
                    Cell(backend, model, device, precision, batch_size, implementation)
                    for backend in backends
                    for implementation in implementations
                ]
                groups[group] = (members[0], replace(members[0], twin=True), *members[1:])
    return groups
