"""The picture of `unidl profile`: the roofline of the device with the layers on it, and the time of each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unidl.errors import UsageError
from unidl.planning.profile import PlaceProfile, Profile

MOST_NAMED, MOST_BARS = 8, 15
WIDTH, HEIGHT = 12.0, 5.0


def write_figure(made: Profile, path: Path) -> None:
    """Write it as a PNG file. Raises `UsageError` if Matplotlib is missing, or `UnidlError` if it cannot be written."""
    import io

    from unidl.reports import write_bytes

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("Cannot draw the figure: Matplotlib is missing. Run pip install 'unidl[plot]'.") from error
    figure: Any = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    left, right = figure.subplots(1, 2)
    _roofline(left, made)
    _bars(right, made)
    figure.suptitle(
        f"{made.model}, batch {made.batch_size}, {made.precision}, {made.backend} on {made.device}: "
        f"{made.step_seconds * 1e3:.3g} ms a step"
    )
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120)
    write_bytes(path, written.getvalue())


def _roofline(axes: Any, made: Profile) -> None:
    """Each layer at its operations per byte and its operations a second, below what the device can reach."""
    placed = [place for place in made.places if place.flops and place.moved_bytes and place.seconds]
    values = [place.flops / place.moved_bytes for place in placed]
    limits = made.limits
    if limits is not None:
        low, high = min([*values, limits.ridge]) / 4, max([*values, limits.ridge]) * 4
        line = [low, limits.ridge, high]
        axes.plot(line, [min(x * limits.bytes_per_second, limits.flops_per_second) / 1e9 for x in line], color="black")
        axes.axvline(limits.ridge, color="grey", linewidth=0.5)
    for place, value in zip(placed, values, strict=True):
        axes.scatter(value, place.flops / place.seconds / 1e9, s=20 + 400 * place.seconds / made.recorded_seconds)
    for place, value in list(zip(placed, values, strict=True))[:MOST_NAMED]:
        axes.annotate(place.path, (value, place.flops / place.seconds / 1e9), fontsize=7)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    axes.set_title("Roofline" if limits is not None else "Without limits: run `unidl doctor --measure`", fontsize=9)


def _bars(axes: Any, made: Profile) -> None:
    first: list[PlaceProfile] = [place for place in made.places if place.seconds][:MOST_BARS][::-1]
    axes.barh([place.path for place in first], [place.seconds * 1e3 for place in first])
    axes.set_xlabel("ms of a step")
    axes.tick_params(labelsize=7)
