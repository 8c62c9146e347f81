"""Registry of models in use by threads: concurrent use would corrupt the state of a model."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from unidl.errors import UsageError

if TYPE_CHECKING:
    import keras

Use = Literal["fit", "evaluate", "predict", "find_learning_rate", "try_steps"]


@dataclass(frozen=True)
class _InUse:
    what: Use
    thread: int


_guard = threading.Lock()
_in_use: WeakKeyDictionary[keras.Model, list[_InUse]] = WeakKeyDictionary()


@contextmanager
def using(model: keras.Model, what: Use) -> Generator[None]:
    """Mark the model as in use. Several threads may predict concurrently, and callbacks may use the model whose
    training calls them. Raises `UsageError` without waiting if another thread prevents it."""
    use = _InUse(what, threading.get_ident())
    with _guard:
        others = _in_use.setdefault(model, [])
        for other in others:
            if other.thread != use.thread and (what, other.what) != ("predict", "predict"):
                raise UsageError(
                    f"Cannot {what} with the model '{model.name}' now: {other.what} is running in another thread and "
                    "changes it. Wait until it has finished, or use a separate model in each thread "
                    "(load_model, keras.models.clone_model)."
                )
        others.append(use)
    try:
        yield
    finally:
        with _guard:
            others.remove(use)
