"""The registry of backends: which are installed, which is in use, and why others are not usable."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from unidl import keras_import, plugins, roles
from unidl.backend import Adapter, Backend
from unidl.errors import BackendError, UnidlError, UsageError
from unidl.machine.versions import version_of
from unidl.notices import notice
from unidl.ranks.joining import join
from unidl.version import __version__

GROUP = "unidl.backends"
PREFERRED = ("jax", "torch", "tensorflow")
"""The order of preference if no backend is chosen."""
AUTO = "auto"
"""The name that selects the fastest backend according to `unidl compare --choose`."""


@dataclass(frozen=True)
class BackendStatus:
    """One row of `unidl.backends()`: a backend, and whether this process can use it."""

    name: str
    """The name for users, as in UNIDL_BACKEND and `unidl.use`."""
    framework: str
    """The framework's name as it is written in messages."""
    installed: bool
    """Whether the framework is installed."""
    version: str | None
    """The installed version of the framework; None if it cannot be found."""
    selected: bool
    """Whether this process uses the backend, or would use it when one is needed."""
    why_not: str | None
    """Why it cannot be used; None if it can."""


@dataclass
class _Selection:
    """The selection of this process. Keras runs on one framework per process, so there is only one."""

    requested: str | None = None
    source: str = "unidl.use"
    model: str | None = None
    adapter: Adapter | None = None
    backend: Backend | None = None
    told: tuple[Adapter, str] | None = None
    """The backend set for Keras when it was imported, and the reason."""


_selection = _Selection()


def adapters() -> dict[str, Adapter]:
    """Return every registered adapter by name: unidl's own first, then third-party ones.

    Raises `BackendError` if there is none.
    """
    return _scan()[0]


def version(adapter: Adapter) -> str | None:
    """Return the installed version of the adapter's framework, or None if it cannot be found."""
    if importlib.util.find_spec(adapter.module) is None:
        return None
    return version_of(adapter.module, adapter.distributions)


def versions(names: Sequence[str]) -> dict[str, str | None]:
    """Return the installed framework versions of some adapters, by name of the adapter."""
    known = adapters()
    return {name: version(known[name]) for name in names}


def backends() -> list[BackendStatus]:
    """List all known backends: whether each is installed and selected, and why it cannot be used.

    Imports no framework.

    Returns:
        One row for each backend: those of unidl first, then those of plugins.

    Examples:
        >>> import unidl
        >>> [row.name for row in unidl.backends()][:3]
        ['jax', 'torch', 'tensorflow']
    """
    known, broken = _scan()
    running = _keras_backend()
    try:
        selected = choice()[0].name
    except BackendError:
        selected = None
    rows: list[BackendStatus] = []
    for adapter in known.values():
        found = version(adapter)
        why_not = None
        if found is None:
            why_not = f"{adapter.framework} is not installed: {adapter.install}"
        elif running is not None and running != adapter.keras_backend:
            why_not = f"Keras already runs on '{running}' in this process"
        chosen = adapter.name == selected
        rows.append(BackendStatus(adapter.name, adapter.framework, found is not None, found, chosen, why_not))
    rows += [BackendStatus(name, name, False, None, False, why_not) for name, why_not in broken.items()]
    return rows


def requested_backends(names: Sequence[str] | None = None) -> list[str]:
    """Return the requested backends without duplicates; None means all installed ones.

    Raises `BackendError` if no framework is installed, and `UsageError` for an unknown name.
    """
    rows = backends()
    installed = [row.name for row in rows if row.installed]
    if not installed:
        raise _nothing_installed()
    return known_names("backend", names or installed, [row.name for row in rows])


def known_names(kind: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names without duplicates. kind: what they name. Raises `UsageError` if one is unknown."""
    for name in names:
        if name not in known:
            raise UsageError(f"Cannot use {kind} {name!r}. Known: {', '.join(known)}.")
    return list(dict.fromkeys(names))


def use(name: str, *, source: str = "unidl.use") -> None:
    """Choose the backend of this process.

    Call it before anything that builds, loads or trains a model.

    Args:
        name: "jax", "torch", "tensorflow" or the name of an installed plugin; or "auto" for the backend that
            `unidl compare --choose` found to be the fastest on this machine.
        source: Name of the caller, for error messages.

    Raises:
        BackendError: If the name is unknown, its framework is missing, or another backend already runs; and for "auto",
            if nothing was compared on this machine.

    Examples:
        >>> import os
        >>> import unidl
        >>> unidl.use(os.environ.get("UNIDL_BACKEND", "jax"))
    """
    adapter, reason = _named(name, source)
    _require_usable(adapter)
    _selection.requested, _selection.source = adapter.name, reason.removeprefix("chosen by ")


def expect(model: str) -> None:
    """Set the model of this process, as in `unidl train cnn`: "auto" then selects the fastest backend for it."""
    _selection.model = model


def choice() -> tuple[Adapter, str]:
    """Return the adapter that this process uses, or would use, and the reason. Does not import a framework.

    Raises `BackendError` if the chosen name is unknown, or no framework is installed.
    """
    if _selection.adapter is not None and _selection.requested in (None, _selection.adapter.name):
        return _selection.adapter, "in use"
    for source, name in (
        (_selection.source, _selection.requested),
        ("UNIDL_BACKEND", os.environ.get("UNIDL_BACKEND")),
    ):
        if name:
            return _named(name, source)
    running, variable = _keras_backend(), os.environ.get("KERAS_BACKEND")
    if _selection.told is not None and _selection.told[0].keras_backend == (running or variable):
        return _selection.told
    for source, name in (("Keras, already imported,", running), ("KERAS_BACKEND", variable)):
        if name:
            for adapter in adapters().values():
                if adapter.keras_backend == name:
                    return adapter, f"chosen by {source}"
            return _find(name, source), f"chosen by {source}"
    for adapter in adapters().values():
        if version(adapter) is not None:
            return adapter, "the first one installed; UNIDL_BACKEND chooses another"
    raise _nothing_installed()


def current() -> Backend:
    """Return the current backend. The first call selects it and imports the framework and Keras."""
    if _selection.backend is not None:
        if _selection.requested not in (None, _selection.backend.name):
            raise BackendError(_conflict(str(_selection.requested), _selection.backend.name))
        return _selection.backend
    adapter, reason = choice()
    _require_usable(adapter)
    _set_environment(adapter, reason)
    notice(f"backend {adapter.name} {version(adapter)} ({reason})")
    try:
        join(adapter)
        backend = adapter.load()
    except ImportError as error:
        raise BackendError(
            f"Cannot use backend '{adapter.name}': importing {adapter.framework} failed: {error}\n"
            f"Repair its installation: {adapter.install}"
        ) from error
    why_not = roles.why_not(backend)
    if why_not is not None:
        raise BackendError(
            f"Cannot use backend '{adapter.name}' of the plugin {_plugin(adapter)}: {why_not}.\n"
            f"Install a version of the plugin that supports unidl {__version__}."
        )
    _selection.adapter, _selection.backend = adapter, backend
    return backend


def prepare_keras() -> None:
    """Set the environment that Keras and its framework read when imported, for the backend returned by `choice`.

    If there is none, or it cannot be used, nothing is set: the first call that needs a backend raises the error.
    """
    try:
        adapter, reason = choice()
        _require_usable(adapter)
    except UnidlError:
        return
    _set_environment(adapter, reason)


def _scan() -> tuple[dict[str, Adapter], dict[str, str]]:
    """Return the adapters by name, and why other registered ones cannot be loaded."""
    loaded, broken = plugins.load_all(GROUP, Adapter)
    found = {adapter.name: adapter for adapter in loaded.values()}
    if not found:
        raise BackendError(
            "No backend is registered: unidl is on the import path but not installed. Run pip install -e . first."
        )
    rank = {name: place for place, name in enumerate(PREFERRED)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))), broken


def _find(name: str, source: str) -> Adapter:
    known, broken = _scan()
    if name in known:
        return known[name]
    if name in broken:
        raise BackendError(f"Cannot use backend '{name}': {broken[name]}.")
    names = ", ".join(f"'{known_name}'" for known_name in known)
    raise BackendError(f"Unknown backend '{name}' (from {source}). Known backends: {names}.")


def _named(name: str, source: str) -> tuple[Adapter, str]:
    """Return the adapter of a requested name, including "auto", and the reason of the choice."""
    if name != AUTO:
        return _find(name, source), f"chosen by {source}"
    from unidl.fastest import chosen  # imported here: it inspects the machine and uses NumPy

    decision = chosen(_selection.model, versions(list(adapters())))
    return _find(decision.backend, source), f"chosen by {source}={AUTO}: {decision}"


def _require_usable(adapter: Adapter) -> None:
    if version(adapter) is None:
        raise BackendError(
            f"Cannot use backend '{adapter.name}': {adapter.framework} is not installed.\n"
            f"Install it with: {adapter.install}"
        )
    running = _keras_backend()
    if running is not None and running != adapter.keras_backend:
        raise BackendError(_conflict(adapter.name, running))


def _nothing_installed() -> BackendError:
    commands = "\n".join(f"  {adapter.install}" for adapter in adapters().values())
    return BackendError(f"No deep-learning framework is installed. Install one of:\n{commands}")


def _plugin(adapter: Adapter) -> str:
    """Return the entry point of an adapter and its distribution."""
    entry = plugins.found(GROUP).get(adapter.name)
    if entry is None:
        return adapter.module
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version} ({entry.value})"


def _conflict(wanted: str, running: str) -> str:
    found = f"Cannot use backend '{wanted}': Keras already runs on '{running}' in this process.\n"
    if not keras_import.CAME_FIRST:
        return f"{found}Call unidl.use('{wanted}') before anything imports keras, or start with UNIDL_BACKEND={wanted}."
    by_variable = os.environ.get("KERAS_BACKEND") == running
    source = "KERAS_BACKEND" if by_variable else "its default or ~/.keras/keras.json"
    known = adapters().get(wanted)
    keras_backend = wanted if known is None else known.keras_backend
    return (
        f"{found}Keras was imported before unidl and selected '{running}' from {source}. Start with "
        f"KERAS_BACKEND={keras_backend}, or put `import unidl` before `import keras`, and call unidl.use in "
        "between. To keep a linter from reordering the imports, write `import unidl  # isort: skip` in the first line."
    )


def _keras_backend() -> str | None:
    """Return the framework that Keras uses in this process; None while Keras is not imported."""
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "config"):
        return None
    return str(keras.config.backend())


def _set_environment(adapter: Adapter, reason: str) -> None:
    """Set the environment that the framework reads when imported. Variables set by the user are kept."""
    _selection.told = adapter, reason
    os.environ["KERAS_BACKEND"] = adapter.keras_backend
    wanted = dict(adapter.environment)
    if os.environ.get("UNIDL_PREALLOCATE", "0") in ("", "0"):
        wanted |= adapter.memory_on_demand
    for variable, value in wanted.items():
        os.environ.setdefault(variable, value)
