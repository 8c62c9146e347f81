"""The registered builders: unidl's own, one line each, and those of installed plugins."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unidl import plugins
from unidl.errors import ModelError
from unidl.notices import notice

if TYPE_CHECKING:
    from unidl.models.builder import Builder

GROUP = "unidl.models"
"""Entry point group of builder plugins: NAME = "module:VALUE", where VALUE is a `Builder` of that name."""

OURS = {
    "cnn": "unidl.models.cnn:CNN",
    "lstm": "unidl.models.lstm:LSTM",
    "transfer": "unidl.models.transfer:TRANSFER",
    "transformer": "unidl.models.transformer:TRANSFORMER",
    "text-classifier": "unidl.models.text_classifier:TEXT_CLASSIFIER",
    "tabular": "unidl.models.tabular:TABULAR",
}
"""Locations of the values, which are imported on first use."""


def names() -> list[str]:
    """Return the names of all builders: ours first, then those of plugins. Imports none of them.

    Returns:
        The names, as in `unidl train NAME`.

    Examples:
        >>> from unidl.models import builders
        >>> builders.names()[:3]
        ['cnn', 'lstm', 'transfer']
    """
    return [*OURS, *_of_plugins()]


def builder(name: Any) -> Builder:
    """Return the builder of a name. Imports its file, and neither Keras nor a framework, if the file keeps to that.

    Args:
        name: The name, as in `unidl train NAME`.

    Returns:
        The builder.

    Raises:
        ModelError: If there is none, or the plugin that provides it cannot be used; the message names the plugin and
            the reason.

    Examples:
        >>> from unidl.models import builders
        >>> builders.builder("cnn").task
        'image classifier'
    """
    if isinstance(name, str) and name in OURS:
        module, _, attribute = OURS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if not isinstance(name, str) or name not in _of_plugins():
        raise ModelError(
            f"Cannot build the model: unknown builder {name!r}. Known builders: {', '.join(map(repr, names()))}.\n"
            "Its plugin may not be installed, or the model may come from another version of unidl."
        )
    from unidl.models.builder import Builder

    found = plugins.load(GROUP, name, Builder, error=ModelError)
    if found.name != name:
        raise ModelError(
            f"Cannot use the builder {name!r}: the plugin of this name in the group {GROUP} defines a builder "
            f"named {found.name!r}. The names must be equal."
        )
    return found


def find(name: Any) -> Builder | None:
    """Return the builder of a name, None if there is none.

    Args:
        name: The name, as in `unidl train NAME`.

    Returns:
        The builder, or None.

    Raises:
        ModelError: If the plugin that provides it cannot be used.

    Examples:
        >>> from unidl.models import builders
        >>> builders.find("no-such-builder") is None
        True
    """
    return builder(name) if name in names() else None


def functions() -> dict[str, str]:
    """Return the names of our public functions, each with the module that it is in.

    Returns:
        The names of modules by the names of the functions.

    Examples:
        >>> from unidl.models import builders
        >>> builders.functions()["build_cnn"]
        'unidl.models.cnn'
    """
    return {f"build_{name.replace('-', '_')}": place.partition(":")[0] for name, place in OURS.items()}


def _of_plugins() -> list[str]:
    """Return the names of plugin builders; those that clash with one of unidl's are ignored."""
    found = list(plugins.found(GROUP))
    for name in found:
        if name in OURS:
            notice(f"the plugin '{name}' of the group {GROUP} is ignored: unidl has a builder of this name")
    return [name for name in found if name not in OURS]
