"""The frozen layers at the front of a model, whose outputs need computing once and not in every epoch.

A frozen front that draws nothing at random gives the same for a row in each epoch. Computed once, E epochs cost one
pass through it and not E; what comes behind it trains as before, on the same optimizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop
from unidl.data.dataset import Split
from unidl.errors import DataError, ModelError
from unidl.machine.memory import memory
from unidl.models.cutting import cut
from unidl.models.records import note, record_of
from unidl.training.compiling import compile_like
from unidl.training.evaluating import predicted
from unidl.training.image_bytes import bytes_scaled

if TYPE_CHECKING:
    import keras

MEMORY_SHARE = 0.5
"""Of the main memory that is free: what the features may take."""


class FrozenFront:
    """A compiled model cut in two: the frozen layers at its front, and all that comes behind them, on the same layers.

    compile_loop: gives the loop of a model. Raises `ModelError` if the model cannot be cut.
    """

    def __init__(self, model: keras.Model, compile_loop: Callable[[keras.Model], TrainLoop]) -> None:
        self._model = model
        self._front, self.rest = cut(model)
        settings: dict[str, Any] = {
            "optimizer": None,
            "run_eagerly": model.run_eagerly,
            "jit_compile": model.jit_compile,
        }
        self._front.compile(**settings)
        compile_like(self.rest, model)
        self._front_loop = compile_loop(self._front)
        self.loop = compile_loop(self.rest)
        """Trains what is behind the front."""

    def features(self, data: Split, batch_size: int) -> Split:
        """What the front makes of `data`, beside the same labels and weights.

        Raises `DataError` if that takes more memory than there is.
        """
        size_bytes = len(data) * sum(_bytes_a_row(tensor) for tensor in self._front.outputs)
        free_bytes = memory().available_bytes
        if free_bytes is not None and size_bytes > MEMORY_SHARE * free_bytes:
            raise DataError(
                f"The features of {len(data):,} rows take {size_bytes / 2**30:.1f} GiB, more than half of the "
                f"{free_bytes / 2**30:.1f} GiB of memory that are free. Train without precompute_frozen=True, or with "
                "a model that pools its features."
            )
        note(self._front, value_range=record_of(self._model).value_range)
        with bytes_scaled(self._front, data):
            outputs = predicted(self._front_loop, replace(data, y=None, sample_weight=None), batch_size)
        return Split(outputs, data.y, data.sample_weight)

    def fingerprint(self) -> str:
        """The SHA-256 of the weights of the front."""
        import keras

        found = hashlib.sha256()
        for weight in self._front.weights:
            values: Any = keras.ops.convert_to_numpy(weight)
            found.update(np.ascontiguousarray(values).data)
        return found.hexdigest()

    def guard(self) -> keras.callbacks.Callback:
        """A callback that ends training if the weights of the front are others than those of now: another callback, or
        the checkpoint that training goes on from, may change them."""
        import keras

        before, fingerprint = self.fingerprint(), self.fingerprint

        class Guard(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                if fingerprint() != before:
                    raise ModelError(
                        f"The frozen weights are others before epoch {epoch + 1} than when their outputs were "
                        "computed: a callback has changed them, or the checkpoint that training goes on from has "
                        "others. Train without precompute_frozen=True."
                    )

        return Guard()


def _bytes_a_row(tensor: Any) -> int:
    # What a model gives comes as float32 at least.
    return int(np.prod([size or 1 for size in tensor.shape[1:]])) * 4
