"""The runs below a folder, as values that can be sorted, filtered and compared."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unidl.errors import SavedModelError, UsageError
from unidl.saving.directories import read_directory
from unidl.saving.manifest import MANIFEST
from unidl.shortening import listed
from unidl.training.progress import plain
from unidl.training.run_directory import HISTORY, RUN, read_run

DEEPEST = 4
"""Levels of folders that are searched for runs."""
NOT_SETTINGS = ("data_origin",)
"""Entries of the configuration that follow from others."""


@dataclass(frozen=True)
class FoundRun:
    """A saved run.

    Attributes:
        path (Path): Its directory.
        saved (str): When it was saved, in ISO 8601.
        settings (dict): What it was asked for, and where it ran, by name: "model", "data", "backend", "epochs", ...
        metrics (dict): The metrics of its last epoch, by name; empty for a run without training.
    """

    path: Path
    saved: str
    settings: dict[str, Any]
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        metrics = {name: plain(value) for name, value in self.metrics.items()}
        return {"path": str(self.path), "saved": self.saved, "settings": self.settings, "metrics": metrics}


def find_runs(folders: Sequence[Path]) -> tuple[list[FoundRun], list[str]]:
    """Return the runs at or below the folders, in the order of their paths, and why others could not be read.

    Raises `UsageError` if a folder does not exist.
    """
    found: list[FoundRun] = []
    failures: list[str] = []
    for path in dict.fromkeys(run for folder in folders for run in _directories(folder)):
        try:
            found.append(read_found_run(path))
        except SavedModelError as error:
            failures.append(str(error))
    return found, failures


def read_found_run(path: Path) -> FoundRun:
    """Return the run in a directory. Raises `SavedModelError` if there is none, or it is damaged."""
    run = read_run(path)
    configuration = {name: value for name, value in run["configuration"].items() if name not in NOT_SETTINGS}
    device = run.get("device")
    settings = {
        **configuration,
        "backend": run.get("backend"),
        "device": device.get("name") if isinstance(device, dict) else None,
        "precision": run.get("precision"),
        "seed": run.get("seed"),
        "versions": run.get("versions"),
    }
    return FoundRun(path, str(run.get("saved", "")), settings, _last_metrics(path))


def sorted_by(runs: Iterable[FoundRun], name: str) -> list[FoundRun]:
    """Return the runs by a metric or a setting, smallest first; those without it come last.

    Raises `UsageError` if no run has it.
    """
    runs = list(runs)
    if runs and all(value_of(run, name) is None for run in runs):
        known = sorted({key for run in runs for key in (*run.metrics, *run.settings, "saved")})
        raise UsageError(f"Cannot sort by '{name}', which no run has. There are {listed(known)}.")
    return sorted(runs, key=lambda run: _rank(value_of(run, name)))


def where(runs: Iterable[FoundRun], conditions: Mapping[str, str]) -> list[FoundRun]:
    """Return the runs whose settings have these values, compared as text."""
    return [run for run in runs if all(str(value_of(run, name)) == value for name, value in conditions.items())]


def value_of(run: FoundRun, name: str) -> Any:
    """Return a metric or setting of a run, or "saved"; None if it has none of that name."""
    return run.saved if name == "saved" else run.metrics.get(name, run.settings.get(name))


def differences(one: FoundRun, other: FoundRun) -> list[tuple[str, Any, Any]]:
    """Return the names and values of the settings in which two runs differ, then all their metrics."""
    names = dict.fromkeys((*one.settings, *other.settings))
    different = [name for name in names if one.settings.get(name) != other.settings.get(name)]
    rows = [(name, one.settings.get(name), other.settings.get(name)) for name in different]
    return rows + [(name, one.metrics.get(name), other.metrics.get(name)) for name in {**one.metrics, **other.metrics}]


def _directories(folder: Path) -> Iterator[Path]:
    """Yield the directories of runs at or below a folder."""
    if not folder.is_dir():
        raise UsageError(f"Cannot list the runs in {folder}: there is no such folder.")
    deepest = len(folder.parts) + DEEPEST
    for place, folders, files in os.walk(folder):
        path = Path(place)
        if RUN in files and MANIFEST in files:
            folders.clear()
            yield path
        elif len(path.parts) >= deepest:
            folders.clear()
        folders.sort()


def _last_metrics(path: Path) -> dict[str, float]:
    files = read_directory(path, only=(HISTORY,))
    lines = list(csv.DictReader(files.get(HISTORY, b"").decode().splitlines()))
    if not lines:
        return {}
    return {name: float(value) for name, value in lines[-1].items() if name != "epoch" and _is_number(value)}


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _rank(value: Any) -> tuple[int, float, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (0, float(value), "") if value == value else (1, 0.0, "")
    return (2, 0.0, "") if value is None else (0, 0.0, str(value))
