"""The best weights of all stages of a training, kept while it goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import UsageError
from unidl.training.layer_rates import inner_optimizer

if TYPE_CHECKING:
    import keras


class BestWeights:
    """Those after the epoch with the least value of a metric, whichever stage it was in."""

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self._best: float | None = None
        self._epoch: int | None = None
        self._weights: list[np.ndarray[Any, Any]] | None = None

    def callback(self) -> keras.callbacks.Callback:
        """Return a callback that looks after each epoch, and whose state a checkpoint holds."""
        import keras

        kept = self

        class KeepsBest(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                kept.look(self.model, epoch, logs or {})

            def state_dict(self) -> dict[str, Any]:
                return {"best": kept._best, "epoch": kept._epoch, "weights": kept._weights}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                kept._best, kept._epoch, kept._weights = state["best"], state["epoch"], state["weights"]

        return KeepsBest()

    def look(self, model: Any, epoch: int, metrics: dict[str, Any]) -> None:
        """Keep the weights of a model if the metric has never been better; an epoch without validation has none."""
        value = metrics.get(self._monitor)
        if value is not None and float(value) < (math.inf if self._best is None else self._best):
            self._best, self._epoch, self._weights = float(value), epoch, model.get_weights()

    def restore(self, model: Any) -> str | None:
        """Give the model the weights back, and say in words which ones; None if there are none."""
        if self._weights is None or self._epoch is None:
            return None
        model.set_weights(self._weights)
        return (
            f"goes back to the weights after epoch {self._epoch + 1}, with the least {self._monitor} ({self._best:.4g})"
        )


def require_no_averages(optimizer: Any, callbacks: list[Any]) -> None:
    """Raise `UsageError` if the best weights would not be those that were validated."""
    swaps = any(type(callback).__name__ == "SwapEMAWeights" for callback in callbacks)
    if getattr(inner_optimizer(optimizer), "use_ema", False) and not swaps:
        raise UsageError(
            "Cannot use restore_best=True with an optimizer that averages weights (use_ema=True): the metrics after an "
            "epoch are not those of the averages. Pass callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] "
            "as well, which validates the averages; or leave one of the two out."
        )
