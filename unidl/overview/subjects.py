"""What a page is made of: runs, comparisons and certificates, each recognised by its files."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unidl.agreement.certificate import Certificate
from unidl.agreement.reading import certificates_in
from unidl.compare import results
from unidl.deploy.certificate import ExportCertificate
from unidl.deploy.judging import Comparison
from unidl.errors import UsageError
from unidl.runs.listing import FoundRun, read_found_run
from unidl.saving.directories import read_directory
from unidl.training.run_directory import HISTORY

FIGURES, MISTAKES = "report.json", "mistakes.png"
"""Files that `unidl train --report` adds to a run."""
WANTED = "the directory of a run, a results.json of `unidl compare`, or a certificate.json"


@dataclass(frozen=True)
class ReadRun:
    """A run. history: the values of each metric by epoch, None where it has none. figures: those of its report on the
    test rows. mistakes: a picture of its most confident mistakes, as PNG."""

    found: FoundRun
    epochs: tuple[int, ...]
    history: dict[str, list[float | None]]
    figures: dict[str, Any] | None = None
    mistakes: bytes | None = None


@dataclass(frozen=True)
class Subjects:
    """All that a page is about."""

    runs: tuple[ReadRun, ...] = ()
    comparisons: tuple[results.Run, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    exports: tuple[ExportCertificate, ...] = ()


def read(paths: list[Path]) -> Subjects:
    """Read everything. Raises `UsageError` for a path that is nothing of the kind, and `SavedModelError` for a damaged
    run."""
    runs: list[ReadRun] = []
    comparisons: list[results.Run] = []
    certificates: list[Certificate] = []
    exports: list[ExportCertificate] = []
    for path in dict.fromkeys(paths):
        if path.is_dir():
            runs.append(_run(path))
            continue
        values = _json(path)
        if isinstance(values, list):
            certificates += _made(path, lambda values=values: certificates_in(values))
        elif "schema" in values:
            comparisons += results.read(path)
        else:
            exports.append(_made(path, lambda values=values: _export(values)))
    return Subjects(tuple(runs), tuple(comparisons), tuple(certificates), tuple(exports))


def _json(path: Path) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read '{path}': {error.strerror or error}. Pass {WANTED}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"Cannot read '{path}': it is not JSON. Pass {WANTED}.") from error
    if not isinstance(values, dict | list):
        raise UsageError(f"Cannot report on '{path}': it holds something else. Pass {WANTED}.")
    return values


def _made(path: Path, make: Any) -> Any:
    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"Cannot report on '{path}': {said}. Pass {WANTED}.") from error


def _export(values: dict[str, Any]) -> ExportCertificate:
    known = {field.name for field in fields(Comparison)}
    comparisons = tuple(
        Comparison(**{name: _number(name, value) for name, value in one.items() if name in known})
        for one in values["comparisons"]
    )
    rest = {field.name: values[field.name] for field in fields(ExportCertificate)}
    return ExportCertificate(**{**rest, "frameworks": tuple(rest["frameworks"]), "comparisons": comparisons})


def _number(name: str, value: Any) -> Any:
    """Return a value; an error or a spread that was not finite is null in JSON."""
    return float("inf") if value is None and name in ("error", "spread") else value


def _run(path: Path) -> ReadRun:
    found = read_found_run(path)
    files = read_directory(path, only=(HISTORY, FIGURES, MISTAKES))
    lines = list(csv.DictReader(files.get(HISTORY, b"").decode().splitlines()))
    names = [name for name in (lines[0] if lines else ()) if name != "epoch"]
    history = {name: [_float(line[name]) for line in lines] for name in names}
    figures = json.loads(files[FIGURES]) if FIGURES in files else None
    return ReadRun(found, tuple(int(line["epoch"]) for line in lines), history, figures, files.get(MISTAKES))


def _float(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # a metric that was not measured in this epoch, or one of several numbers
        return None
