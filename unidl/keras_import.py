"""Keras settles on a framework once, when it is imported: this has it settle on the one that unidl would take.

Whoever writes `import unidl` and then `import keras` has called nothing of ours in between. So that moment is listened
for, and the choice is made then, after `unidl.use` and with the environment as it is by that time. To listen costs
nothing when `unidl` is imported, and changes nothing for a process that never imports Keras.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType


def keras_is_imported() -> bool:
    """Whether this process has imported Keras, or is about to finish with it."""
    return sys.modules.get("keras") is not None


CAME_FIRST = keras_is_imported()
"""Whether Keras was imported before unidl, and so without being told anything."""


class _Listener:
    """Hears of each import as a finder on `sys.meta_path`, and leaves the finding to the others."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> None:
        if name == "keras" and not keras_is_imported():
            self._prepare()


def listen(prepare: Callable[[], None]) -> None:
    """Have `prepare` set what Keras and the framework read, when Keras is about to be imported; at once if it already
    is."""
    if CAME_FIRST:
        prepare()  # what the framework reads only when it first looks for devices still helps
    elif not any(isinstance(finder, _Listener) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Listener(prepare))
