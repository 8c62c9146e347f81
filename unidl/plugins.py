"""Plugins: values that other distributions add by name through entry points. Each group holds one kind of value.

| group | kind | what it adds |
|---|---|---|
| `unidl.backends` | `unidl.backend.Adapter` | a backend |
| `unidl.models` | `unidl.models.Builder` | a builder of models |
| `unidl.data` | `unidl.data.Loader` | a data set |
| `unidl.precisions` | `unidl.precision_row.Precision` | a precision |

A plugin is imported only when it is requested by name. A plugin that cannot be loaded does not affect the others;
requesting it raises an error with its name and the reason.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from unidl.errors import UnidlError, UsageError
from unidl.shortening import shortened

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def found(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, without importing their values. If two have the same name, the
    first on the import path is used, as Python does for modules."""
    return dict(_on_path(group, tuple(sys.path)))


def load(group: str, name: str, kind: type[T], *, error: type[UnidlError] = UsageError) -> T:
    """Return the value of the plugin `name`.

    kind: the class that the value must be an instance of. error: raised if there is no plugin of this name,
    importing it fails, or its value has another type; the message names the plugin and the reason.
    """
    entries = found(group)
    if name not in entries:
        known = ", ".join(f"'{one}'" for one in entries) or "none"
        raise error(f"No plugin in the group {group} is named '{shortened(name)}'. Installed: {known}.")
    value, why_not = _value(entries[name], kind)
    if value is None:
        raise error(f"Cannot use the plugin '{name}' of the group {group}: {why_not}.")
    return value


def load_all(group: str, kind: type[T]) -> tuple[dict[str, T], dict[str, str]]:
    """Return the values of all loadable plugins of a group by name, and the reasons of those that cannot be loaded."""
    values: dict[str, T] = {}
    broken: dict[str, str] = {}
    for name, entry in found(group).items():
        value, why_not = _value(entry, kind)
        if value is None:
            broken[name] = why_not
        else:
            values[name] = value
    return values, broken


@cache
def _on_path(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the entry points of the distributions on this path; cached, since reading them takes milliseconds."""
    from importlib import metadata  # imported here, since it takes longer than the rest of `import unidl`

    entries: dict[str, EntryPoint] = {}
    for entry in metadata.entry_points(group=group):
        entries.setdefault(entry.name, entry)
    return entries


def _value(entry: EntryPoint, kind: type[T]) -> tuple[T | None, str]:
    """Return the value of an entry point, or None and the reason."""
    source = "" if entry.dist is None else f" (distribution {entry.dist.name})"
    try:
        value = entry.load()
    except Exception as error:  # noqa: BLE001 - third-party code; the error is reported when it is requested
        return None, f"{entry.value} cannot be loaded{source}: {type(error).__name__}: {shortened(error)}"
    if isinstance(value, kind):
        return value, ""
    return (
        None,
        f"{entry.value}{source} must be a {kind.__module__}.{kind.__qualname__}, but is a {type(value).__name__}",
    )
