"""Kernels that temporarily replace functions of Keras, each only if it computes the same as Keras.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import functools
import inspect
import logging
import platform
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.backend import KernelOff
from unidl.cache import cache_folder, keep, read_kept
from unidl.keras_internals import policy_module, uncounted_names
from unidl.keras_places import Place
from unidl.kernels import noticing
from unidl.machine.processor import processor
from unidl.notices import notice, uncoloured
from unidl.shortening import shortened
from unidl.version import __version__

log = logging.getLogger("unidl")

InUse = Callable[[], AbstractContextManager[None]]
"""Returns the context in which a check computes with the kernel."""

SHARED = ("kernels", "keras_internals", "keras_places", "replacements", "sampling")
"""The modules of the core that an outcome depends on."""

MOST_KEPT = 16
"""Number of sets of versions whose outcomes are kept in the cache."""

UNCHECKED = "it cannot be checked here"
"""Start of the reason if a check raised an error."""

NOT_NEEDED = "Keras computes this correctly by itself"
"""Reason for a correction that is not needed, which is not reported."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """A kernel and the Keras function that it replaces.

    name: for messages. check: compares the result inside the given context with Keras's result,
    and returns the difference as a sentence, or None. corrects: the results that are wrong in Keras, for a kernel that
    corrects them; None for one that is only faster.
    """

    name: str
    place: Place
    kernel: Any
    check: Callable[[InUse], str | None]
    corrects: str | None = None

    @property
    def why_other(self) -> str | None:
        """Why Keras's function is not the one that the kernel was written for; None if it may be."""
        if self.place.owner is None:
            return f"this Keras has no {self.place.name}"
        if not callable(self.place.original) or not callable(self.kernel):
            return None
        found, expected = _arguments(self.place.original), _arguments(self.kernel, follow_wrapped=False)
        if expected and expected[-1].startswith("**"):  # further arguments are passed on
            expected.pop()
            same = found[: len(expected)] == expected
        else:
            same = found == expected
        if same:
            return None
        return f"{self.place.name} takes other arguments here: ({', '.join(found)})"


class Replacements:
    """The kernels of an adapter. Each is checked separately, in the order of `entries`, together with the earlier ones
    in use: the correcting ones come first, so that they can be checked alone and the others later.

    package: the adapter's; an outcome is valid for its sources, and for the versions of Keras, NumPy and `modules`,
    those of the framework. why_none: why there are no kernels.
    """

    def __init__(
        self,
        entries: Sequence[Replacement],
        *,
        package: str,
        modules: Sequence[str] = (),
        why_none: str | None = None,
    ) -> None:
        self.entries = tuple(sorted(entries, key=lambda one: one.corrects is None))
        self._package = package
        self._modules = ("keras", "numpy", *modules)
        self._why_none = why_none
        self._lock = threading.RLock()
        self._users: Counter[Replacement] = Counter()
        self._originals: dict[Replacement, Any] = {}
        self._outcomes: dict[str, Mapping[str, str | None]] = {}

    def where_sound(self, *, faster: bool = True) -> AbstractContextManager[None]:
        """Use the kernels that compute the same as Keras; only those that correct wrong results, and only those are
        checked, if `faster` is false."""
        why_not = self.why_not(faster=faster)
        return self.in_use([one for one in self._chosen(faster) if why_not[one.name] is None])

    def off(self, *, faster: bool = True) -> tuple[KernelOff, ...]:
        """Return the disabled kernels with reasons; only the correcting ones if `faster` is false."""
        why_not = self.why_not(faster=faster) if self._why_none is None else {}
        return self._disabled(self._chosen(faster), why_not)

    def why_not(self, *, faster: bool = True) -> Mapping[str, str | None]:
        """Return by name why each kernel is disabled, None for an enabled one; at least of the correcting ones if
        `faster` is false. The first call in a process reads the cache, and checks what is not in it; disabled kernels
        are logged once."""
        mode = _mode()
        with self._lock:
            first = mode not in self._outcomes
            known = self._outcomes.setdefault(mode, {})
            new = [one for one in self._chosen(faster) if one.name not in known]
            if new:
                known = {**known, **self._kept_or_checked(mode, known, faster=faster)}
                self._outcomes[mode] = known
        if new or first:
            _tell(self._disabled(new, known))
        return known

    def _disabled(self, entries: Sequence[Replacement], why_not: Mapping[str, str | None]) -> tuple[KernelOff, ...]:
        if self._why_none is not None:
            wrong = "everything that Keras computes incorrectly on this framework"
            return (KernelOff("all kernels", self._why_none, wrong),)
        reasons = [(one, why_not[one.name]) for one in entries]
        return tuple(KernelOff(one.name, why, one.corrects) for one, why in reasons if why not in (None, NOT_NEEDED))

    def _chosen(self, faster: bool) -> list[Replacement]:
        return [one for one in self.entries if faster or one.corrects]

    def _kept_or_checked(self, mode: str, found: Mapping[str, str | None], *, faster: bool) -> dict[str, str | None]:
        """found: what this process has found so far."""
        path, key = cache_folder() / f"{self._package}.json", f"{self._versions()}; {mode}"
        kept: Any = read_kept(path).get(key)
        known: Mapping[str, str | None] = kept if _is_outcome(kept) else {}
        outcome = self.checked({**known, **found}, faster=faster)
        # Outcomes that may be specific to this process are not cached: patched functions
        # of Keras, and errors raised by a check. What others have found about those kernels stays.
        lasting = {**known} | {
            one.name: why
            for one in self._chosen(faster)
            if one.why_other is None and not str(why := outcome[one.name]).startswith(UNCHECKED)
        }
        if lasting != known:
            keep(path, key, lasting, most=MOST_KEPT)
        return outcome

    def checked(
        self, known: Mapping[str, str | None] = MappingProxyType({}), *, faster: bool = True
    ) -> dict[str, str | None]:
        """Check each kernel whose outcome is unknown, and return the reasons of the disabled ones; only of the
        correcting ones if `faster` is false."""
        outcome: dict[str, str | None] = {}
        sound: list[Replacement] = []
        with uncounted_names(), noticing(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's warnings about the small models of the checks
            for one in self._chosen(faster):
                why = one.why_other
                if why is None:
                    why = known[one.name] if one.name in known else self._disagreement(one, sound)
                if why is None:
                    sound.append(one)
                elif one.corrects and why != NOT_NEEDED and _is_right(one):
                    why = NOT_NEEDED
                outcome[one.name] = why
        return outcome

    def _disagreement(self, one: Replacement, others: Sequence[Replacement]) -> str | None:
        watched, calls = _watched(one)
        try:
            why = one.check(lambda: self.in_use([*others, watched]))
        except Exception as error:  # noqa: BLE001 - another Keras or framework may raise anything; the reason is kept
            return f"{UNCHECKED}: {type(error).__name__}: {shortened(uncoloured(str(error)))}"
        return why or (None if calls else f"this Keras does not call {one.place.name} where expected")

    def _versions(self) -> str:
        """Return what an outcome depends on. File times distinguish different builds
        of one version."""
        sources = sorted(Path(str(_file_of(self._package))).parent.glob("*.py"))
        sources += [Path(__file__).with_name(f"{name}.py") for name in SHARED]
        digest = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        parts = [f"unidl {__version__} {digest[:16]}", f"Python {platform.python_version()}"]
        for name in self._modules:
            version, file = getattr(sys.modules.get(name), "__version__", None), _file_of(name)
            parts.append(f"{name} {version} {Path(file).stat().st_mtime_ns if file else ''}".strip())
        cpu = processor()
        return ", ".join([*parts, cpu.model or cpu.architecture])

    @contextmanager
    def in_use(self, entries: Sequence[Replacement] | None = None) -> Generator[None]:
        """Replace Keras's functions by the kernels in `entries`, by default all;
        they are restored when the last thread leaves the context."""
        chosen = [one for one in (self.entries if entries is None else entries) if one.place.owner is not None]
        with self._lock:
            for one in chosen:
                if self._users[one] == 0:
                    self._originals[one] = getattr(one.place.owner, one.place.attribute)
                    setattr(one.place.owner, one.place.attribute, one.kernel)
                self._users[one] += 1
        try:
            yield
        finally:
            with self._lock:
                for one in reversed(chosen):
                    self._users[one] -= 1
                    if self._users[one] == 0:
                        setattr(one.place.owner, one.place.attribute, self._originals.pop(one))


@functools.cache
def loaded(module: str) -> Replacements:
    """Import an adapter's module of kernels and return its `REPLACEMENTS`; empty, with the reason, if
    it cannot be imported with this Keras and this framework."""
    try:
        return import_module(module).REPLACEMENTS
    except Exception as error:  # noqa: BLE001 - another Keras or framework may raise anything; the reason is kept
        said = f"{type(error).__name__}: {shortened(error)}"
        why = f"{module} cannot be imported with Keras {keras.__version__}: {said}"
    return Replacements((), package=module.partition(".")[0], why_none=why)


def _tell(off: Sequence[KernelOff]) -> None:
    """Log which kernels are disabled, once; as a warning where results remain wrong."""
    slower: dict[str, list[str]] = {}
    for one in off:
        if one.corrects is None:
            slower.setdefault(one.why, []).append(one.name)
        else:
            log.warning("Keras %s: %s", keras.__version__, one)
    for why, names in slower.items():
        notice(
            f"Keras {keras.__version__}: running without unidl's kernels for {', '.join(names)}, which is slower: {why}"
        )


def _mode() -> str:
    """Return which dtypes Keras uses for float32: in a verification it computes in float64."""
    return f"{keras.config.floatx()}, float32 as {policy_module().get('float32').compute_dtype}"


def _is_right(one: Replacement) -> bool:
    """Return whether Keras itself is correct where a kernel would correct it."""
    try:
        return one.check(nullcontext) is None
    except Exception:  # noqa: BLE001 - unknown; the reason why the kernel is disabled is reported
        return False


def _is_outcome(kept: Any) -> bool:
    """Return whether a cached value has the form returned by `checked`."""
    return isinstance(kept, dict) and all(why is None or isinstance(why, str) for why in kept.values())


def _watched(one: Replacement) -> tuple[Replacement, list[str]]:
    """Return the same kernel and a list of its calls: a kernel that is never called would agree with anything."""
    calls: list[str] = []
    if not callable(one.kernel):
        return one, ["a module"]

    @functools.wraps(one.kernel)
    def kernel(*arguments: Any, **options: Any) -> Any:
        calls.append(one.name)
        return one.kernel(*arguments, **options)

    return replace(one, kernel=kernel), calls


def _arguments(function: Any, *, follow_wrapped: bool = True) -> list[str]:
    """Return the parameters of a function as "name=default" without annotations; empty if unknown."""
    try:
        found = inspect.signature(function, follow_wrapped=follow_wrapped).parameters.values()
    except (TypeError, ValueError):
        return []
    return [str(one.replace(annotation=inspect.Parameter.empty)) for one in found]


def _file_of(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)
