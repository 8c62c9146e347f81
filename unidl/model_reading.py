"""How a builder reads a model from a directory: `unidl.saving` rests on the builders, so the package says who reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

Read = Callable[[str], "keras.Model"]

_readers: list[Read] = []


def models_are_read_by(read: Read) -> None:
    """Have `read_model` call `read`."""
    _readers[:] = [read]


def read_model(path: str) -> keras.Model:
    """Return the model in a directory that `Trainer.save` wrote. Raises `SavedModelError` as `load_model` does."""
    [read] = _readers  # `import unidl` has said which
    return read(path)
