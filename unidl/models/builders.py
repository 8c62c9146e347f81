"""Which builders there are: ours, one line each, and those of installed plugins."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from unidl.models.builder import Builder

GROUP = "unidl.models"
"""The group of entry points in which a plugin names its builders: NAME = "module:VALUE", a `Builder` of that name."""

OURS = {
    "cnn": "unidl.models.cnn:CNN",
    "lstm": "unidl.models.lstm:LSTM",
    "transfer": "unidl.models.transfer:TRANSFER",
    "transformer": "unidl.models.transformer:TRANSFORMER",
    "text-classifier": "unidl.models.transformer:TEXT_CLASSIFIER",
}
"""Where the values are. None is imported before it is asked for."""


def names() -> list[str]:
    """Return the names of all builders: ours first, then those of plugins. Imports none of them."""
    return [*OURS, *_plugins()]


def builder(name: Any) -> Builder:
    """Return the builder of that name. Imports its file, and neither Keras nor a framework, if the file keeps to that.

    Raises `ModelError` if there is none, or a plugin is to blame: then it says which one, and what is wrong with it.
    """
    if isinstance(name, str) and name in OURS:
        module, _, attribute = OURS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    entry = _plugins().get(name) if isinstance(name, str) else None
    if entry is None:
        raise ModelError(
            f"Cannot build the model: unknown builder {name!r}. Known builders: {', '.join(map(repr, names()))}.\n"
            "A plugin that brings it may not be installed here, or the model may come from another version of unidl."
        )
    return _loaded(entry)


def find(name: Any) -> Builder | None:
    """Return the builder of that name, None if there is none. Raises `ModelError` if a plugin is to blame."""
    return builder(name) if name in names() else None


def functions() -> dict[str, str]:
    """Return the names of our public functions, each with the module that it is in."""
    return {f"build_{name.replace('-', '_')}": place.partition(":")[0] for name, place in OURS.items()}


def _loaded(entry: EntryPoint) -> Builder:
    from unidl.models.builder import Builder

    try:
        found = entry.load()
    except Exception as error:
        raise _broken(entry, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Builder):
        raise _broken(entry, f"is a {type(found).__name__}, not a unidl.models.Builder")
    if found.name != entry.name:
        raise _broken(
            entry, f"is a builder named {found.name!r}, and its entry point {entry.name!r}: they must be equal"
        )
    return found


def _broken(entry: EntryPoint, what: str) -> ModelError:
    plugin = entry.dist.name if entry.dist is not None else "a distribution without a name"
    return ModelError(
        f"Cannot use the builder {entry.name!r} of the plugin {plugin}: {entry.value} {what}.\n"
        f"Repair the plugin, or remove it: pip uninstall {plugin}."
    )


def _plugins() -> dict[str, EntryPoint]:
    return _plugins_on(tuple(sys.path))


@cache
def _plugins_on(path: Sequence[str]) -> dict[str, EntryPoint]:
    """The entry points by name, as the distributions on this path have them; no plugin replaces a builder of ours."""
    from importlib import metadata

    return {entry.name: entry for entry in metadata.entry_points(group=GROUP) if entry.name not in OURS}
