"""Detection of callback state that a checkpoint does not contain: attributes that change during training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.keras_internals import CALLBACK_OWN, CALLBACK_STATE

if TYPE_CHECKING:
    import keras

LOOKED_INTO = 256
"""Size, in list members or KiB of an array, up to which changes of the content are detected; above it, only of the
length."""


class Forgotten:
    """Detects attributes that callbacks change from now on and that a checkpoint will not contain.

    Keras's own callbacks are handled, and so are callbacks with `state_dict` and `load_state_dict`.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self._then = [(callback, _attributes(callback)) for callback in callbacks if _is_unknown(callback)]
        self._told: set[tuple[int, str]] = set()

    def newly_found(self) -> Iterator[str]:
        """Yield a sentence for each callback that has changed further attributes."""
        for callback, then in self._then:
            now = _attributes(callback)
            changed = [name for name in now if now[name] != then.get(name) and (id(callback), name) not in self._told]
            self._told.update((id(callback), name) for name in changed)
            if changed:
                kind = type(callback).__name__
                yield (
                    f"checkpoints do not contain the attributes {', '.join(map(repr, changed))} of the callback "
                    f"{kind}: a "
                    f"resumed run starts with their initial values. Add state_dict() and load_state_dict(state) to "
                    f"{kind}."
                )


def _is_unknown(callback: Any) -> bool:
    if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
        return False
    return not type(callback).__module__.startswith(("keras.", "unidl."))


def _attributes(callback: Any) -> dict[str, Any]:
    known = {
        *CALLBACK_OWN,
        *(name for kind in type(callback).__mro__ for name in CALLBACK_STATE.get(kind.__name__, ())),
    }
    return {name: _trace(value) for name, value in vars(callback).items() if name not in known}


def _trace(value: Any) -> Any:
    """Return a key that differs if the value has changed."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value)
    if isinstance(value, np.ndarray):
        small = value.nbytes <= LOOKED_INTO * 1024 and not value.dtype.hasobject
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest() if small else id(value)
        return (value.shape, str(value.dtype), content)
    if isinstance(value, Mapping):
        members = list(value.items()) if len(value) <= LOOKED_INTO else []
        return (len(value), [(repr(key), _trace(member)) for key, member in members])
    if isinstance(value, list | tuple):
        return (len(value), [_trace(member) for member in value] if len(value) <= LOOKED_INTO else [])
    return id(value), len(value) if hasattr(value, "__len__") and not hasattr(value, "shape") else None
