"""The frozen layers at the front of a model, whose outputs need computing once and not in every epoch.

A frozen front that draws nothing at random gives the same for a row in each epoch. Computed once, E epochs cost one
pass through it and not E; what comes behind it trains as before, on the same optimizer. Of a front that augments its
images, k variants of each are computed, and the epochs take turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop, Tree
from unidl.data.dataset import Split
from unidl.data.trees import map_leaves
from unidl.errors import ModelError
from unidl.machine.memory import memory
from unidl.models.cutting import cut, with_numbers
from unidl.models.records import note, record_of
from unidl.training.compiling import compile_like
from unidl.training.evaluating import predicted_parts
from unidl.training.feature_store import FeatureStore, Key, folder_of, key_of, mapped, written
from unidl.training.image_bytes import bytes_scaled

if TYPE_CHECKING:
    import keras

MEMORY_SHARE = 0.5
"""Of the main memory that is free: what the features may take; larger ones go to files."""


class FrozenFront:
    """A compiled model cut in two: the frozen layers at its front, and all that comes behind them, on the same layers.

    compile_loop: gives the loop of a model. varied: whether the front holds an `Augmentation`. Raises `ModelError` if
    the model cannot be cut.
    """

    def __init__(
        self, model: keras.Model, compile_loop: Callable[[keras.Model], TrainLoop], *, varied: bool = False
    ) -> None:
        self._model, self.varied = model, varied
        self._front, self.rest = cut(model, varied=varied)
        settings: dict[str, Any] = {
            "optimizer": None,
            "run_eagerly": model.run_eagerly,
            "jit_compile": model.jit_compile,
        }
        self._front.compile(**settings)
        compile_like(self.rest, model)
        self._front_loop = compile_loop(self._front)
        if varied:
            self._varying, self._augmentation = with_numbers(self._front)
            self._varying.compile(**settings)
            self._varying_loop = compile_loop(self._varying)
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
        variants: int | None = None,
    ) -> tuple[Split, ...]:
        """What the front makes of `data`, beside the same labels and weights: of each variant of the images, or of the
        images themselves.

        They are taken from `store` if nothing that they depend on has changed. What takes more than half of the memory
        that is free goes to mapped files. Raises `DataError` if those find no room. role: what the rows are for.
        computed_by: backend, device and precision. variants: how many, None for none.
        """
        note(self._front, value_range=record_of(self._model).value_range)
        key = key_of(self._front, self.fingerprint(), data, batch_size, computed_by, variants)
        count = variants or 1
        x, dropped = store.take(role, key)
        if x is not None:
            tell(f"what its frozen layers gave for {len(data):,} rows is still there")
        else:
            why = "" if dropped is None else f", anew, since {dropped}"
            rows = f"{len(data):,} rows" if variants is None else f"{variants} variants of {len(data):,} rows"
            tell(f"computes what its frozen layers give for {rows}, once{why}")
            x, folder = self._computed(data, batch_size, key, variants)
            if key is not None:
                store.put(role, key, x, self._front, folder)
        return tuple(Split(_rows(x, number, len(data)), data.y, data.sample_weight) for number in range(count))

    def _computed(
        self, data: Split, batch_size: int, key: Key | None, variants: int | None = None
    ) -> tuple[Tree, Path | None]:
        """The features, those of one variant after those of the other, and where their files are if they do not fit
        into the memory."""
        import keras

        free_bytes = memory().available_bytes
        rows = len(data) * (variants or 1)
        size_bytes = rows * sum(_bytes_a_row(tensor) for tensor in self._front.outputs)
        front = self._front if variants is None else self._varying
        note(front, value_range=record_of(self._model).value_range)
        with bytes_scaled(front, data):
            parts = self._parts(data, batch_size, variants)
            if free_bytes is None or size_bytes <= MEMORY_SHARE * free_bytes:
                return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts), None
            folder = folder_of(key)
            found = mapped(folder)
            if found is None:
                found = written(folder, parts, rows, size_bytes)
        return found, folder

    def _parts(self, data: Split, batch_size: int, variants: int | None) -> Iterator[Tree]:
        from unidl.layers.variation import numbers_of_variant

        inputs = replace(data, y=None, sample_weight=None)
        if variants is None:
            yield from predicted_parts(self._front_loop, inputs, batch_size)
            return
        for number in range(variants):
            numbers = numbers_of_variant(self._augmentation, len(data), number)
            given = replace(inputs, x=[data.x, numbers], watch=None)
            yield from predicted_parts(self._varying_loop, given, batch_size)

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


def _rows(features: Tree, variant: int, rows: int) -> Tree:
    """Those of one variant, without a copy."""
    return map_leaves(lambda array: array[variant * rows : (variant + 1) * rows], features)


def _bytes_a_row(tensor: Any) -> int:
    # What a model gives comes as float32 at least.
    return int(np.prod([size or 1 for size in tensor.shape[1:]])) * 4
