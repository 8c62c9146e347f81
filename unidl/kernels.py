"""What the kernels of all adapters need: to stand in for functions of Keras for a while, and to know where they suit.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none
from keras.src.backend.common.tensor_attributes import (  # pyright: ignore[reportMissingTypeStubs]
    get_tensor_attr,
    set_tensor_attr,
)

LOOKUP = "_unidl_lookup"
"""What a tensor that was looked up says of that."""


class Replacements:
    """Functions of Keras that an adapter's kernels stand in for, while at least one thread needs them.

    entries: (owner, name, value): the module or class, its attribute, and what stands there meanwhile. keras: how
    the versions of Keras begin whose functions these are. disagreement: compares the kernels, in use inside what it is
    given, with Keras's own, and says what differs. checked: modules and their versions for which the test suite
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

    @functools.cached_property
    def why_not(self) -> str | None:
        """Why Keras keeps its own functions; None if it does not."""
        if not keras.__version__.startswith(self._keras):
            return f"they stand in for functions of Keras {self._keras}x, and this is {keras.__version__}"
        if self._checked and all(_version(name) == version for name, version in self._checked.items()):
            return None
        try:
            with noticing(True):
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


def _version(module: str) -> str | None:
    """What a module that is imported says: which distribution brought it has many answers, as tensorflow-cpu is one."""
    return getattr(sys.modules.get(module), "__version__", None)


def normalizes_plainly(layer: Any, inputs: Any, training: Any, mask: Any) -> bool:
    """Whether a BatchNormalization is in training, with scale and offset, over the last axis of tensors of float32:
    what the frameworks have kernels for."""
    return bool(
        mask is None
        and training
        and layer.trainable
        and not layer.renorm
        and not layer.synchronized
        and layer.scale
        and layer.center
        and layer.compute_dtype == keras.backend.standardize_dtype(inputs.dtype) == "float32"
        and layer.axis in (-1, len(inputs.shape) - 1)
    )


NAMES_A_ROW = 2
"""How often a batch must name a row of a table, on average, for a product with the table to pay. The rows of the
product are wider than those of the table, and to look them up, and to add up their gradients, takes its time too."""

_noticing = ContextVar("_noticing", default=True)


@contextmanager
def noticing(wanted: bool) -> Generator[None]:
    """Whether `notice` does anything inside it. Not for code that asks for the gradient of what a layer gives: if the
    next layer reads what is behind that, none goes there."""
    token = _noticing.set(wanted)
    try:
        yield
    finally:
        _noticing.reset(token)


def notice(tensor: Any, attribute: str, value: Any) -> None:
    """Write on what a layer gives how it was computed, for the layer that reads it."""
    if _noticing.get():
        set_tensor_attr(tensor, attribute, value)


def noticed(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`Embedding.call`, such that `looked_up` knows what it returns.

    What multiplies rows that were looked up may as well multiply the table and look up rows of the product: the same
    numbers from fewer operations, where a batch names each row of the table several times; and so do the gradients.
    """

    @functools.wraps(call)
    def embedding_call(self_: Any, inputs: Any) -> Any:
        rows = call(self_, inputs)
        plain = not self_.lora_enabled and self_.quantization_mode is None
        if plain and isinstance(self_.embeddings, keras.Variable) and self_.compute_dtype == self_.variable_dtype:
            # The table as it is now: whoever multiplies it may be in another scope of Keras's.
            notice(rows, LOOKUP, (self_.embeddings.value, inputs, writes(rows), writes(inputs)))
        return rows

    return embedding_call


def looked_up(rows: Any) -> tuple[Any, Any] | None:
    """The table (vocabulary, features) and the row numbers (batch, time) that `rows` (batch, time, features) were
    looked up with; None if they were not, or if a product with the table saves nothing."""
    lookup = get_tensor_attr(rows, LOOKUP)
    if lookup is None:
        return None
    table, tokens, *before = lookup
    if None in before or before != [writes(rows), writes(tokens)]:
        return None
    if _learns(rows) != _learns(table) or getattr(rows, "_backward_hooks", None):
        return None
    if keras.backend.standardize_dtype(tokens.dtype) not in ("int32", "int64"):
        return None
    if len(tokens.shape) != 2 or None in tuple(tokens.shape):
        return None
    return (table, tokens) if math.prod(tokens.shape) >= NAMES_A_ROW * table.shape[0] else None


def _learns(tensor: Any) -> bool | None:
    """Whether PyTorch carries gradients back to a tensor; somebody may have cut them off."""
    return getattr(tensor, "requires_grad", None)


def writes(tensor: Any) -> int | None:
    """How often somebody has written to a tensor, as PyTorch lets people do; None where it does not count."""
    try:
        return getattr(tensor, "_version", 0)
    except RuntimeError:  # of a tensor made in inference mode
        return None
