"""The decisions of one call of `fit`, alone or together with other ranks: how far to go, when to stop, who saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from unidl.keras_internals import rate_of
from unidl.ranks.joining import is_first, ranks
from unidl.scale.alike import digest_of, require_alike, require_same_weights

if TYPE_CHECKING:
    import keras

    from unidl.data.dataset import Split

EVERYWHERE = (
    *("EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler", "TerminateOnNaN", "SwapEMAWeights", "History"),
)
"""Keras's callbacks that decide from metrics alone, and so alike on every rank; others run on rank 0."""


class Signals(Protocol):
    """What signals a process has received. signal: the first one."""

    signal: int | None


class Together:
    """This process's part in the decisions of a run. Alone, every method costs a comparison with None."""

    def __init__(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self._ranks, self._model, self._callbacks = ranks(), model, callbacks
        self._only_first = any(not runs_everywhere(callback) for callback in callbacks)
        self.signal: int | None = None
        """The signal that one of the ranks has received, when all have agreed on it."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes what a run writes."""
        return is_first()

    def begin(
        self, settings: Callable[[], Mapping[str, Any]], data: tuple[Split, Split | None], *, saves: bool
    ) -> None:
        """Raise `UsageError` if the ranks do not train the same model on the same data in the same way."""
        if self._ranks is None:
            return
        from unidl.data.fingerprint import fingerprint
        from unidl.scale import identity

        names = [type(callback).__name__ for callback in self._callbacks]
        said = {
            "versions": identity.versions(),
            "program": identity.program(),
            "device": self._ranks.device_kind,
            "settings": {**settings(), "callbacks": names, "checkpoint": saves},
            "data": fingerprint(training=data[0], validation=data[1]),
            "model": identity.described(self._model),
        }
        require_alike(self._ranks, said)
        require_alike(self._ranks, {"model": {"the digest of its weights": digest_of(self._model)}})

    def steps(self, wanted: int) -> int:
        """Return the number of steps of the next dispatch, by the clock of rank 0."""
        return wanted if self._ranks is None else self._ranks.agreed("the next steps", wanted)

    def decide(self, interrupt: Signals) -> None:
        """Let all stop if one is to stop. Alone, a signal counts as soon as it comes."""
        if self._ranks is None:
            self.signal = interrupt.signal
            return
        words = self._ranks.exchange("stopping", [bool(self._model.stop_training), interrupt.signal])
        if any(stop for stop, _ in words):
            self._model.stop_training = True
        self.signal = next((signal for _, signal in words if signal is not None), None)
        interrupt.signal = self.signal if interrupt.signal is None else interrupt.signal

    def in_turn(self, action: Callable[[], Any], word: Callable[[Any], Any]) -> Any:
        """Call an action that reads or writes files, first on rank 0, then on the others, and return its result. word:
        what the results of all ranks must agree in, as a JSON value."""
        if self._ranks is None:
            return action()
        result = action() if self._ranks.rank == 0 else None
        self._ranks.exchange("a checkpoint", None)
        if self._ranks.rank:
            result = action()
        require_alike(self._ranks, {"checkpoint": word(result)})
        return result

    def wait(self) -> None:
        """Wait until rank 0 has written."""
        if self._ranks is not None:
            self._ranks.exchange("a checkpoint", None)

    def follow(self) -> None:
        """After callbacks: take over the learning rate of rank 0, and check that the weights are still the same."""
        if self._ranks is None:
            return
        import keras

        rate = rate_of(self._model.optimizer)
        known = isinstance(rate, keras.Variable)
        value: Any = keras.ops.convert_to_numpy(rate.value) if known else None
        first = self._ranks.agreed("the learning rate", [float(value) if known else None, self._only_first])
        if known and first[0] is not None:
            rate.assign(first[0])
        if first[1]:
            require_same_weights(self._ranks, self._model, "after a callback")


def by_first(action: Callable[[], object]) -> None:
    """Call an action that changes files on rank 0 alone; the others wait until it is done."""
    own = ranks()
    if is_first():
        action()
    if own is not None:
        own.exchange("a change of files", None)


def of_first(at: str, value: Any) -> Any:
    """Return what rank 0 has found, such as whether its memory is enough. at: what is decided. value: a JSON value."""
    own = ranks()
    return value if own is None else own.agreed(at, value)


def runs_everywhere(callback: Any) -> bool:
    """Return whether a callback runs on every rank."""
    kind = type(callback)
    return kind.__module__.startswith("unidl.") or (
        kind.__module__.startswith("keras.") and kind.__name__ in EVERYWHERE
    )


def called_here(callbacks: Sequence[Any]) -> list[Any]:
    """Return the callbacks that this process calls."""
    return [one for one in callbacks if is_first() or runs_everywhere(one)]


def require_same_call(name: str, rows: int, batch_size: int) -> None:
    """Raise `UsageError` if the ranks do not all evaluate or predict the same number of rows now."""
    own = ranks()
    if own is not None:
        require_alike(own, {"call": f"{name} of {rows} rows in batches of {batch_size}"})
