"""Options of `unidl train` in a file: run.toml, or run.json of a run that is to be repeated."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unidl.errors import UsageError
from unidl.runs.configuration import RunConfiguration
from unidl.runs.kinds import AROUND, FOUND, RUN, require
from unidl.shortening import shortened, shown

KNOWN = RUN | AROUND
TABLES = ("train", "configuration")
"""A table that may hold the options; they may also stand by themselves."""


def read_options(path: str | Path) -> dict[str, Any]:
    """Return the options of `unidl train` that a file says, by their names with underscores; a JSON null says nothing.

    path: TOML, or JSON where it ends in .json, such as the run.json of a run. Paths in it are as on the command line,
    relative to where the command is given. Raises `UsageError` if the file cannot be read, for a key that is not known,
    naming the nearest one, and for a value that an option cannot have.
    """
    path = Path(path)
    found: dict[str, Any] = {}
    for name, value in _options(_parsed(path), path).items():
        if name in FOUND or value is None:
            continue
        if name not in KNOWN:
            raise UsageError(_unknown(name, path))
        require(name, value, KNOWN[name], source=f" in {path}")
        found[name] = value
    return found


def to_toml(configuration: RunConfiguration) -> str:
    """Return a file for `unidl train --config` that asks for the same run."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in configuration.options().items())


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UsageError(f"Cannot read {path} as {kind}: {shortened(error)}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"Cannot use {path}: it must hold options by name, and holds {shown(values)}.")
    return values


def _options(values: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The options, wherever in the file they are."""
    if path.suffix == ".json" and isinstance(values.get("configuration"), dict):
        return values["configuration"]  # beside it run.json says on what machine that was, and how it went
    tables = [name for name in TABLES if isinstance(values.get(name), dict)]
    if not tables:
        return values
    others = [name for name in values if name != tables[0]]
    if others:
        raise UsageError(
            f"Cannot use {others[0]!r} in {path} beside the table [{tables[0]}]: write all options into the table, or "
            "none."
        )
    return values[tables[0]]


def _unknown(name: str, path: Path) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), KNOWN, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"There is no option {shortened(name)!r}, which {path} says.{guess} Known: {', '.join(KNOWN)}."


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's escapes are TOML's; but TOML wants that of DEL, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
