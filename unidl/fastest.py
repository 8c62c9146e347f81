"""UNIDL_BACKEND=auto: the fastest backend according to a comparison on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from unidl import statistics
from unidl.cache import cache_folder
from unidl.errors import BackendError
from unidl.machine.nvidia import gpus
from unidl.machine.processor import processor
from unidl.machine.versions import version_of
from unidl.reports import write_bytes
from unidl.statistics import Interval
from unidl.version import __version__

SCHEMA = 1
COMMAND = "unidl compare --choose"

Versions: TypeAlias = Mapping[str, str | None]


@dataclass(frozen=True)
class Speeds:
    """The stored result of one model. rates: samples per second by round, for each backend; resolution: of the
    group."""

    rates: Mapping[str, Sequence[float]]
    resolution: float | None


@dataclass(frozen=True)
class Decision:
    """The fastest backend over some models, and the second fastest."""

    backend: str
    models: tuple[str, ...]
    second: str | None
    ratio: Interval | None
    claimed: bool
    """Whether the difference between the two is significant."""

    def __str__(self) -> str:
        over = " and ".join(self.models)
        if self.second is None or self.ratio is None:
            return f"the only one that could be measured on {over}"
        factor = f"{self.ratio.median:.2f} ({self.ratio.low:.2f}-{self.ratio.high:.2f})"
        if self.claimed:
            return f"{factor} times as fast as {self.second} on {over}"
        return f"{factor} times as fast as {self.second} on {over}, not a significant difference"


def decide(speeds: Mapping[str, Speeds], model: str | None = None) -> Decision | None:
    """Return the fastest backend for `model` if it was measured, else by the geometric mean over all models.

    None if no backend was measured on all of them.
    """
    counted = {model: speeds[model]} if model is not None and model in speeds else dict(speeds)
    candidates = set.intersection(*(set(each.rates) for each in counted.values())) if counted else set[str]()
    if not candidates:
        return None
    rates = {name: _mean_rates([each.rates[name] for each in counted.values()]) for name in sorted(candidates)}
    ordered = sorted(rates, key=lambda name: median(rates[name]), reverse=True)
    models = tuple(counted)
    if len(ordered) == 1:
        return Decision(ordered[0], models, None, None, False)
    ratio = statistics.ratio(rates[ordered[0]], rates[ordered[1]])
    resolutions = [each.resolution for each in counted.values()]
    known = [each for each in resolutions if each is not None]
    resolved = max(known) if len(known) == len(resolutions) else None
    rounds = min(len(rates[ordered[0]]), len(rates[ordered[1]]))
    claimed = ratio is not None and statistics.differs(ratio, resolved, rounds)
    return Decision(ordered[0], models, ordered[1], ratio, claimed)


def keep(speeds: Mapping[str, Speeds], created: str, device: str, versions: Versions) -> None:
    """Write speeds by model to the cache for the current machine. device: as requested.

    Raises `UnidlError` if it cannot be written.
    """
    path = cache_file()
    machines = _read(path) if path.is_file() else {}
    models = {name: {"rates": dict(each.rates), "resolution": each.resolution} for name, each in speeds.items()}
    machines[machine_key(device, versions)] = {"created": created, "models": models}
    content = json.dumps({"schema": SCHEMA, "machines": machines}, indent=1, allow_nan=False)
    write_bytes(path, content.encode() + b"\n")


def chosen(model: str | None, versions: Versions) -> Decision:
    """Return the cached decision for this machine. model: its name, as in `unidl train cnn`.

    versions: framework versions by name of the adapter. Does not import a framework. Raises `BackendError`
    if no comparison has been made on this machine.
    """
    path, device = cache_file(), os.environ.get("UNIDL_DEVICE") or "auto"
    kept = (_read(path) if path.is_file() else {}).get(machine_key(device, versions))
    decision = None
    if kept is not None:
        speeds = {name: Speeds(each["rates"], each["resolution"]) for name, each in kept["models"].items()}
        decision = decide(speeds, model)
    if decision is None:
        raise BackendError(
            "Cannot use backend 'auto': the installed backends have not been compared on this machine in its current "
            "state.\n"
            f"Run `{COMMAND}` first, or choose one of: {', '.join(versions)}."
        )
    return decision


def cache_file() -> Path:
    """Return the path of the cache file."""
    return cache_folder() / "comparison.json"


def machine_key(device: str, versions: Versions) -> str:
    """Return what a comparison depends on: the machine, the versions, and the requested device."""
    parts = [*_machine(), *(f"{name} {version}" for name, version in versions.items())]
    parts += [f"keras {version_of('keras', ('keras',))}", f"unidl {__version__}"]
    return f"{', '.join(parts)}; {device}"


@cache
def _machine() -> tuple[str, ...]:
    cpu = processor()
    return cpu.model or cpu.architecture, f"{cpu.usable_cores} cores", *(gpu.name for gpu in gpus().found)


def _mean_rates(by_model: Sequence[Sequence[float]]) -> list[float]:
    """Return the geometric mean over the models for each round."""
    return [statistics.geometric_mean(rates) for rates in zip(*by_model, strict=False)]


def _read(path: Path) -> dict[str, Any]:
    """Return the machines in the cache; empty if it is damaged or of another version, since it can be measured
    again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["machines"]) if content["schema"] == SCHEMA else {}
    except (OSError, KeyError, TypeError, ValueError):
        return {}
