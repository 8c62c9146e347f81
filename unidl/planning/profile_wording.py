"""A profile in words."""

from __future__ import annotations

from unidl.planning.profile import PlaceProfile, Profile, shown
from unidl.planning.wording import duration
from unidl.tables import Table

HEADINGS = ("layer", "kind", "time", "share", "GFLOP", "MB", "GFLOP/s", "of roofline", "operations", "mostly")


def layer_table(made: Profile, most: int | None = None) -> Table:
    """Return the layers in rows, those that take the most time first."""
    rows = [_cells(place, made.recorded_seconds) for place in shown(made.places)[:most]]
    return Table(HEADINGS, tuple(rows), (False,) * len(rows))


def _cells(place: PlaceProfile, total: float) -> tuple[str, ...]:
    return (
        place.path,
        place.kind,
        duration(place.seconds),
        f"{place.seconds / total:.1%}" if total else "",
        f"{place.flops / 1e9:,.2f}" if place.flops else "",
        f"{place.moved_bytes / 1e6:,.1f}" if place.moved_bytes else "",
        f"{place.flops / place.seconds / 1e9:,.1f}" if place.flops and place.seconds else "",
        "" if place.reached is None else f"{place.reached:.0%}",
        f"{place.calls:.0f}",
        ", ".join(place.kernels),
    )


def title(made: Profile) -> str:
    """Describe what was profiled in one line."""
    return (
        f"{made.model}, batches of {made.batch_size}, {made.precision}, {made.backend} on {made.device}: a step takes "
        f"{duration(made.step_seconds)}; its operations, recorded by {made.source}, take "
        f"{duration(made.recorded_seconds)} ({made.recorded_seconds / made.step_seconds:.0%})"
    )


def notes(made: Profile) -> list[str]:
    """Return what the columns mean."""
    found = [
        "time: while an operation of the layer ran, forward and backward; of several at once each has its part",
        "GFLOP, MB: of the layer's shapes, as `unidl plan` derives them; nothing fused, so a layer may move less",
    ]
    if made.limits is None:
        found.append("of roofline: unknown until `unidl doctor --measure` has run on this machine")
    else:
        limits = made.limits
        found.append(
            f"of roofline: 100% is as fast as {limits.flops_per_second / 1e9:,.0f} GFLOP/s and "
            f"{limits.bytes_per_second / 1e9:,.1f} GB/s allow, {limits.origin}; above it a layer moves less than its "
            "shapes say"
        )
    return found
