"""What the kernels of all adapters need: to stand in for functions of Keras for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from importlib import metadata
from typing import Any


class Replacements:
    """Functions of Keras that an adapter's kernels stand in for, while at least one thread needs them.

    entries: (owner, name, value): the module or class, its attribute, and what stands there meanwhile. keras: how
    the versions of Keras begin whose functions these are. disagreement: compares the kernels, in use inside what it is
    given, with Keras's own, and says what differs. checked: distributions and their versions for which the test suite
    does that, so that no process needs to.
    """

    def __init__(
        self,
        entries: Sequence[tuple[Any, str, Any]],
        *,
        keras: str,
        disagreement: Callable[[Callable[[], AbstractContextManager[None]]], str | None],
        checked: Mapping[str, str] | None = None,
    ) -> None:
        self.entries = tuple(entries)
        self._keras = keras
        self._disagreement = disagreement
        self._checked = checked
        self._lock = threading.Lock()
        self._users = 0
        self._originals: list[Any] = []

    @cached_property
    def why_not(self) -> str | None:
        """Why Keras keeps its own functions; None if it does not."""
        import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

        if not keras.__version__.startswith(self._keras):
            return f"they stand in for functions of Keras {self._keras}x, and this is {keras.__version__}"
        if self._checked and all(metadata.version(name) == version for name, version in self._checked.items()):
            return None
        try:
            return self._disagreement(self.in_use)
        except Exception as error:  # noqa: BLE001 - another release of a framework may raise anything; the reason is kept
            return f"they cannot be checked here: {type(error).__name__}: {error}"

    def where_sound(self) -> AbstractContextManager[None]:
        """`in_use`, if they are for this Keras and give what it gives; else Keras computes as it is."""
        return self.in_use() if self.why_not is None else nullcontext()

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Inside it the functions are replaced; they come back when the last one leaves."""
        with self._lock:
            if self._users == 0:
                self._originals = [getattr(owner, name) for owner, name, _ in self.entries]
                for owner, name, function in self.entries:
                    setattr(owner, name, function)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for (owner, name, _), original in zip(self.entries, self._originals, strict=True):
                        setattr(owner, name, original)
