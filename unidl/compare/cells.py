"""Cells, the units of measurement, and the groups whose cells are measured together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unidl.compare.workloads import workload
from unidl.errors import UsageError

IMPLEMENTATIONS = ("unidl", "unidl-features", "keras", "native")
"""unidl's loop; unidl's loop with `precompute_frozen`, for models with a frozen front; stock `compile` and `fit`; a
hand-written training loop in the framework alone."""
OURS = ("unidl", "unidl-features")


@dataclass(frozen=True)
class Group:
    """What cells must have in common to be compared. Their rounds are interleaved, so that drift affects all
    equally."""

    model: str
    device: str
    precision: str
    batch_size: int
    data: str | None = None
    """The file or folder that is read; None for made-up arrays in memory."""

    @property
    def title(self) -> str:
        """Description of the group."""
        return f"{self.subject}, batch {self.batch_size}, {self.precision}, {self.device}"

    @property
    def subject(self) -> str:
        """The model, and the data that it reads."""
        return self.model if self.data is None else f"{self.model} on {Path(self.data).name}"


@dataclass(frozen=True)
class Cell:
    """One process that trains. twin: a second process of the same cell, which shows what this machine can resolve."""

    backend: str
    model: str
    device: str
    precision: str
    batch_size: int
    implementation: str
    twin: bool = False
    data: str | None = None
    image_size: int | None = None

    @property
    def group(self) -> Group:
        """The group that the cell belongs to."""
        return Group(self.model, self.device, self.precision, self.batch_size, self.data)

    @property
    def title(self) -> str:
        """Description of the cell within its group."""
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
    data: str | None = None,
    image_size: int | None = None,
) -> dict[Group, tuple[Cell, ...]]:
    """Return every group with its cells; the twin of the first cell follows it directly.

    batch_sizes: empty means the default of each model. against: the implementations to compare with. features: whether
    unidl's loop is also measured with `precompute_frozen`, for models with a frozen front. data: a file or folder that
    unidl's loop alone reads, in place of made-up arrays; image_size: height and width that its images get.
    Raises `UsageError` for an implementation that does not exist.
    """
    unknown = [name for name in against if name not in IMPLEMENTATIONS]
    if unknown:
        raise UsageError(f"Unknown implementation {unknown[0]!r}. Known: {', '.join(IMPLEMENTATIONS)}.")
    if data is not None:
        against, features = (), False
    groups: dict[Group, tuple[Cell, ...]] = {}
    for model in models:
        work = workload(model)
        wanted = ("unidl", "unidl-features", *against) if features and work.frozen_front else ("unidl", *against)
        for precision in precisions:
            for batch_size in batch_sizes or (work.batch_size,):
                group = Group(model, device, precision, batch_size, data)
                members = [
                    Cell(
                        backend, model, device, precision, batch_size, implementation, data=data, image_size=image_size
                    )
                    for backend in backends
                    for implementation in IMPLEMENTATIONS
                    if implementation in wanted
                ]
                groups[group] = (members[0], replace(members[0], twin=True), *members[1:])
    return groups
