"""How a builder loads a model from a directory. `unidl.saving` depends on the builders, so the package sets the
loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

Read = Callable[[str], "keras.Model"]

_readers: list[Read] = []


def models_are_read_by(read: Read) -> None:
    """Set the function that `read_model` calls."""
    _readers[:] = [read]


def read_model(path: str) -> keras.Model:
    """Load the model in a directory written by `Trainer.save`. Raises `SavedModelError` as `load_model` does."""
    [read] = _readers  # set by `import unidl`
    return read(path)
