"""Options of `unidl train` in a file: run.toml, or the run.json of a run to repeat."""

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
"""Table that may contain the options; they may also be at the top level."""


def read_options(path: str | Path) -> dict[str, Any]:
    """Return the options of `unidl train` in a file, by their names with underscores; JSON null values are ignored.

    path: TOML, or JSON if the suffix is .json, such as the run.json of a run. Paths in it are, as on the command line,
    relative to the working directory. Raises `UsageError` if the file cannot be read, for an unknown key,
    naming the closest one, and for an invalid value.
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
    """Return a file for `unidl train --config` that describes the same run."""
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
        raise UsageError(f"Cannot use {path}: it must contain options by name, but contains {shown(values)}.")
    return values


def _options(values: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the options, wherever they are in the file."""
    if path.suffix == ".json" and isinstance(values.get("configuration"), dict):
        return values["configuration"]  # run.json also records the machine and the results
    tables = [name for name in TABLES if isinstance(values.get(name), dict)]
    if not tables:
        return values
    others = [name for name in values if name != tables[0]]
    if others:
        raise UsageError(
            f"Cannot use {others[0]!r} in {path} outside the table [{tables[0]}]: put all options into the table, or "
            "none."
        )
    return values[tables[0]]


def _unknown(name: str, path: Path) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), KNOWN, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"Unknown option {shortened(name)!r} in {path}.{guess} Known: {', '.join(KNOWN)}."


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's escapes are valid in TOML, but TOML also requires DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
