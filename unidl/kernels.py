"""What the kernels of all adapters need: to stand in for functions of Keras for a while, and to know a lookup."""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

    @functools.cached_property
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


class Lookups:
    """Which tensors are rows that an Embedding has looked up in its table.

    What multiplies such rows may as well multiply the table and look up rows of the product: the same numbers from
    fewer operations, where a batch names each row of the table several times; and so do the gradients.
    """

    NAMES_A_ROW = 2
    """How often a batch must name a row, on average. The rows of the product are wider than those of the table, and to
    look them up, and to add up their gradients, takes its time too."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Any, Any]] = {}

    def noticed(self, call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """`Embedding.call`, such that what it returns is known for as long as somebody holds it."""
        from keras import ops  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

        @functools.wraps(call)
        def embedding_call(self_: Any, inputs: Any) -> Any:
            rows = call(self_, inputs)
            plain = not self_.lora_enabled and self_.quantization_mode is None
            if plain and self_.compute_dtype == self_.variable_dtype and "int" in str(inputs.dtype):
                place = id(rows)
                held = weakref.ref(rows, lambda _: self._known.pop(place, None))
                # Its value now: whoever multiplies it may be in another scope of Keras's.
                self._known[place] = held, ops.convert_to_tensor(self_.embeddings), inputs
            return rows

        return embedding_call

    def behind(self, rows: Any) -> tuple[Any, Any] | None:
        """The table (vocabulary, features) and the row numbers (batch, time) that `rows` (batch, time, features) were
        looked up with; None if they were not, or if a product with the table saves nothing."""
        known = self._known.get(id(rows))
        if known is None or known[0]() is not rows:
            return None
        _, table, tokens = known
        if None in tuple(tokens.shape) or len(tokens.shape) != 2:
            return None
        return (table, tokens) if math.prod(tokens.shape) >= self.NAMES_A_ROW * table.shape[0] else None
