"""The time of a training step by layer, beside what the layers compute and move: `unidl profile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unidl.backend import Chunk, Profiles, StepProfile
from unidl.errors import BackendError
from unidl.planning.attribution import OPTIMIZER, Places, seconds_by_place
from unidl.planning.costs import LayerCost, ModelCost
from unidl.planning.roofline import moved_bytes
from unidl.planning.subject import cost_of
from unidl.precision_row import Precision

if TYPE_CHECKING:
    from unidl.data.dataset import Split
    from unidl.training import Trainer

STEPS = 17
"""Steps that are taken: some to warm up, some for the time of a step, ten that are recorded."""


@dataclass(frozen=True)
class Limits:
    """What the device reaches at best, as `unidl doctor --measure` has found: FLOP/s and bytes a second."""

    flops_per_second: float
    bytes_per_second: float
    origin: str

    def seconds(self, flops: float, moved: float) -> float:
        """Return the time that this takes at least."""
        return max(flops / self.flops_per_second, moved / self.bytes_per_second)

    @property
    def ridge(self) -> float:
        """Operations for each byte from which computing takes longer than moving."""
        return self.flops_per_second / self.bytes_per_second


@dataclass(frozen=True)
class PlaceProfile:
    """A layer, or a part of the step that is no layer. calls: how many operations ran in it in a step; kernels: the
    names of those that took the most time, the longest first; least_seconds: at the limits of the device."""

    path: str
    kind: str
    seconds: float
    flops: float
    moved_bytes: float
    calls: float
    kernels: tuple[str, ...]
    least_seconds: float | None = None

    @property
    def reached(self) -> float | None:
        """The share of the roofline: 1 is as fast as the device can be."""
        if self.least_seconds is None or not self.seconds or not self.least_seconds:
            return None
        return self.least_seconds / self.seconds


@dataclass(frozen=True)
class Profile:
    """A training step. places: the longest first; step_seconds: of a step without recording; source: what recorded."""

    model: str
    backend: str
    device: str
    precision: str
    batch_size: int
    places: tuple[PlaceProfile, ...]
    step_seconds: float
    source: str
    limits: Limits | None

    @property
    def recorded_seconds(self) -> float:
        """The sum of all places."""
        return sum(place.seconds for place in self.places)


def profile(trainer: Trainer, rows: Split, batch_size: int, limits: Limits | None = None) -> Profile:
    """Take a few training steps, and return the time of each layer. The model is changed.

    Raises `BackendError` if the backend cannot say it for this model.
    """
    from unidl.training.runs import build_for
    from unidl.training.step_trial import few_rows

    backend, device, model = trainer.backend, trainer.device, trainer.model
    if not isinstance(backend, Profiles):
        raise BackendError(f"Cannot profile with backend '{backend.name}': its adapter has no profile_step.")
    with backend.on(device), backend.precision(trainer.precision):
        few = few_rows(model, rows, batch_size)
        build_for(model, few, batch_size)
        order = np.resize(np.arange(len(few), dtype=np.int64), (STEPS, batch_size))
        found = backend.profile_step(model, Chunk(few, order), device=device)
    cost = cost_of(model, few.x)
    places = places_of(found, Places(model), cost, trainer.precision, batch_size, limits)
    return Profile(
        model.name,
        backend.name,
        device.id,
        trainer.precision.name,
        batch_size,
        places,
        found.step_seconds,
        found.source,
        limits,
    )


def places_of(
    found: StepProfile,
    places: Places,
    cost: ModelCost,
    precision: Precision,
    batch_size: int,
    limits: Limits | None,
) -> tuple[PlaceProfile, ...]:
    """Return what ran where, the longest first."""
    seconds = {path: total / found.steps for path, total in seconds_by_place(found.operations, places).items()}
    by_path: dict[str, list[LayerCost]] = {}
    for layer in cost.layers:
        by_path.setdefault(layer.path, []).append(layer)
    kernels: dict[str, Counter[str]] = {}
    calls: Counter[str] = Counter()
    for operation in found.operations:
        path = places.of(operation.scope)
        calls[path] += 1
        kernels.setdefault(path, Counter())[operation.name] += operation.end_seconds - operation.start_seconds  # type: ignore[assignment]
    made: list[PlaceProfile] = []
    for path in sorted({*seconds, *by_path}, key=lambda path: -seconds.get(path, 0.0)):
        layers = by_path.get(path, [])
        flops = batch_size * sum(layer.training_flops for layer in layers)
        moved = sum(moved_bytes(layer, precision, batch_size) for layer in layers)
        if path == OPTIMIZER:
            moved = (3 + 2 * cost.slots) * 4.0 * cost.trainable
        made.append(
            PlaceProfile(
                path,
                layers[0].kind if layers else cost.optimizer if path == OPTIMIZER else "",
                seconds.get(path, 0.0),
                flops,
                moved,
                calls[path] / found.steps,
                tuple(name for name, _ in kernels.get(path, Counter()).most_common(3)),
                limits.seconds(flops, moved) if limits is not None and (flops or moved) else None,
            )
        )
    return tuple(made)


def to_json(made: Profile) -> dict[str, object]:
    """Return a profile as JSON values. Units are in the names."""
    limits: Mapping[str, object] | None = None
    if made.limits is not None:
        limits = {
            "flops_per_second": made.limits.flops_per_second,
            "bytes_per_second": made.limits.bytes_per_second,
            "origin": made.limits.origin,
        }
    return {
        "model": made.model,
        "backend": made.backend,
        "device": made.device,
        "precision": made.precision,
        "batch_size": made.batch_size,
        "step_seconds": made.step_seconds,
        "recorded_seconds": made.recorded_seconds,
        "source": made.source,
        "limits": limits,
        "layers": [_place(place, made.recorded_seconds) for place in made.places],
    }


def _place(place: PlaceProfile, total: float) -> dict[str, object]:
    return {
        "path": place.path,
        "kind": place.kind,
        "seconds": place.seconds,
        "share": place.seconds / total if total else 0.0,
        "flops": place.flops,
        "moved_bytes": place.moved_bytes,
        "operations": place.calls,
        "kernels": list(place.kernels),
        "least_seconds": place.least_seconds,
        "share_of_roofline": place.reached,
    }


def shown(places: Sequence[PlaceProfile]) -> list[PlaceProfile]:
    """Return those that are worth a line: what took time, or should have."""
    return [place for place in places if place.seconds > 0 or place.flops > 0]
