"""Calls of the callbacks of a run, and errors for what callbacks must not do during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from unidl.errors import TrainingError
from unidl.keras_internals import compiled_parts

if TYPE_CHECKING:
    import keras

LAST = ("on_train_end", "on_predict_end")
"""Hooks after which compiling the model is allowed."""

Phase = Literal["train", "test", "predict"]


class Callbacks:
    """Keras's list of callbacks for one call of `fit`, `evaluate` or `predict`.

    steps: batches per epoch. history: whether to include a History, as in `fit`. follows_trainable: whether the
    loop follows changes of `trainable` immediately.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        *,
        epochs: int,
        steps: int | None,
        history: bool = False,
        follows_trainable: bool = False,
    ) -> None:
        import keras

        self._model = model
        self._given = list(callbacks)
        self._list: keras.callbacks.CallbackList | None = None
        self._learning: list[tuple[Any, bool]] = []
        if not self._given and not history:
            return  # no callbacks: keeps the cost of single predictions low, as in text generation
        self._list = keras.callbacks.CallbackList(
            self._given, add_history=history, model=model, epochs=epochs, steps=steps, verbose=0
        )
        self._compiled = compiled_parts(model)
        if not follows_trainable:
            self._learning = [(weight, weight.trainable) for weight in model.weights]

    def look_at_batches(self, phase: Phase) -> bool:
        """Return whether one of them has a hook for batches."""
        return any(looks_at_batches(callback, phase) for callback in self._given)

    def tell(self, hook: str, *arguments: Any) -> None:
        """Call a hook of all callbacks. Raises `TrainingError` if one has compiled the model again, or frozen or
        unfrozen a layer, which the current steps would follow only partly."""
        if self._list is None:
            return
        getattr(self._list, hook)(*arguments)
        if hook in LAST:
            return
        if any(new is not old for new, old in zip(compiled_parts(self._model), self._compiled, strict=True)):
            raise self._cannot(hook, "compiled the model again, or replaced its optimizer")
        if any(weight.trainable != trainable for weight, trainable in self._learning):
            raise self._cannot(hook, "froze or unfroze a layer, which takes effect only after the next compile")

    def _cannot(self, hook: str, what: str) -> TrainingError:
        own = [type(callback).__name__ for callback in self._given if not _is_of_keras(callback)]
        return TrainingError(
            f"A callback ({', '.join(own) or 'one of the given ones'}) {what} in {hook}, while '{self._model.name}' "
            f"was "
            "in use; training cannot continue. Let the callback set model.stop_training = True instead; then change "
            "and "
            "compile the model, and continue with fit(initial_epoch=...)."
        )


def looks_at_batches(callback: keras.callbacks.Callback, phase: Phase) -> bool:
    """Return whether a callback defines a hook for batches, in its class or on the instance. A callback whose
    `save_freq` is "epoch", the default of Keras's ModelCheckpoint, does nothing there."""
    import keras

    if phase == "train" and getattr(callback, "save_freq", None) == "epoch":
        return False
    plain: Any = keras.callbacks.Callback
    hooks = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
    if phase == "train":
        hooks += ["on_batch_begin", "on_batch_end"]
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook) for hook in hooks)


def _is_of_keras(callback: Any) -> bool:
    return type(callback).__module__.startswith("keras.")
