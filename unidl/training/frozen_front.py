"""The frozen layers at the front of a model, whose outputs need computing once and not in every epoch.

A frozen front that draws nothing at random gives the same for a row in each epoch. Computed once, E epochs cost one
pass through it and not E; what comes behind it trains as before, on the same optimizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop, Tree
from unidl.data.dataset import Split
from unidl.errors import ModelError
from unidl.machine.memory import memory
from unidl.models.cutting import cut
from unidl.models.records import note, record_of
from unidl.training.compiling import compile_like
from unidl.training.evaluating import predicted, predicted_parts
from unidl.training.feature_store import FeatureStore, Key, folder_of, key_of, mapped, written
from unidl.training.image_bytes import bytes_scaled

if TYPE_CHECKING:
    import keras

MEMORY_SHARE = 0.5
"""Of the main memory that is free: what the features may take; larger ones go to files."""


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

    def features(
        self,
        data: Split,
        batch_size: int,
        store: FeatureStore,
        *,
        role: str,
        computed_by: str,
        tell: Callable[[str], None],
    ) -> Split:
        """What the front makes of `data`, beside the same labels and weights.

        They are taken from `store` if nothing that they depend on has changed. What takes more than half of the memory
        that is free goes to mapped files. Raises `DataError` if those find no room. role: what the rows are for.
        computed_by: backend, device and precision.
        """
        note(self._front, value_range=record_of(self._model).value_range)
        key = key_of(self._front, self.fingerprint(), data, batch_size, computed_by)
        x, dropped = store.take(role, key)
        if x is not None:
            tell(f"what its frozen layers gave for {len(data):,} rows is still there")
        else:
            why = "" if dropped is None else f", anew, since {dropped}"
            tell(f"computes what its frozen layers give for {len(data):,} rows, once{why}")
            x, folder = self._computed(data, batch_size, key)
            if key is not None:
                store.put(role, key, x, self._front, folder)
        return Split(x, data.y, data.sample_weight)

    def _computed(self, data: Split, batch_size: int, key: Key | None) -> tuple[Tree, Path | None]:
        """The features, and where their files are if they do not fit into the memory."""
        free_bytes = memory().available_bytes
        size_bytes = len(data) * sum(_bytes_a_row(tensor) for tensor in self._front.outputs)
        inputs = replace(data, y=None, sample_weight=None)
        with bytes_scaled(self._front, data):
            if free_bytes is None or size_bytes <= MEMORY_SHARE * free_bytes:
                return predicted(self._front_loop, inputs, batch_size), None
            folder = folder_of(key)
            found = mapped(folder)
            if found is None:
                found = written(folder, predicted_parts(self._front_loop, inputs, batch_size), len(data), size_bytes)
        return found, folder

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
