"""Make Keras use the backend that unidl selects. Keras chooses its framework once, when it is imported.

A program that runs `import unidl` and then `import keras` calls no unidl function in between. So unidl observes the
import of Keras and makes the choice at that time, after `unidl.use` and with the environment of that time. Observing
costs nothing when `unidl` is imported and has no effect on a process that never imports Keras.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType


def keras_is_imported() -> bool:
    """Return whether this process has imported Keras, or is importing it."""
    return sys.modules.get("keras") is not None


CAME_FIRST = keras_is_imported()
"""Whether Keras was imported before unidl, and so chose its backend without unidl."""


class _Listener:
    """A finder on `sys.meta_path` that observes imports and finds nothing itself."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> None:
        if name == "keras" and not keras_is_imported():
            self._prepare()


def listen(prepare: Callable[[], None]) -> None:
    """Call `prepare`, which sets what Keras and the framework read, just before Keras is imported; at once if it
    already is."""
    if CAME_FIRST:
        prepare()  # still useful for settings that the framework reads when it first looks for devices
    elif not any(isinstance(finder, _Listener) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Listener(prepare))
