"""Models trained alone or together with other ranks, and what came out: run as a program by `unidl launch`."""

from __future__ import annotations

import os
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16
ROWS = 2 * BATCH + 11
"""The last batch of an epoch is smaller, and does not divide by 2."""


def made(kind: str) -> tuple[Any, Any, np.ndarray]:
    """Return a model and its data: "lstm", "cnn", or "both" in one. The functions are smooth: where a ReLU or a maximum
    decides between two values that are almost equal, rounding alone leads two runs apart."""
    import unidl
    from unidl.layers import Dropout

    import keras  # isort: skip - after unidl, which chooses its backend

    rng = np.random.default_rng(0)
    tokens, images = rng.integers(2, 30, (ROWS, 6)).astype(np.int32), rng.random((ROWS, 6, 6, 1), dtype=np.float32)
    if kind == "lstm":
        lstm: Any = unidl.build_lstm(vocabulary_size=30, sequence_length=6, embedding_size=8, units=8, dropout=0.2)
        return lstm, tokens, rng.integers(2, 30, ROWS)
    layers: Any = keras.layers
    keras.utils.set_random_seed(1)
    pictures, words = keras.Input((6, 6, 1)), keras.Input((6,), dtype="int32")
    seen = layers.Conv2D(4, 3, use_bias=False)(pictures)
    seen = layers.Activation("tanh")(layers.BatchNormalization()(seen))
    seen = layers.Flatten()(layers.AveragePooling2D(2)(seen))
    if kind == "both":
        read = layers.LSTM(8)(layers.Embedding(30, 8)(words))
        seen = layers.Concatenate()([seen, Dropout(0.2, seed=5)(read)])
    seen = Dropout(0.25, seed=3)(layers.Dense(8, activation="tanh")(seen))
    outputs = layers.Dense(5, activation="softmax")(seen)
    labels = rng.integers(0, 5, ROWS)
    if kind == "both":
        return keras.Model([pictures, words], outputs), [images, tokens], labels
    return keras.Model(pictures, outputs), images, labels


class Training:
    """Trains a model of a kind, and tells what came out."""

    def __init__(self, kind: str) -> None:
        import unidl

        self.kind = kind
        self.callbacks: list[Any] = []
        self.model, self.x, self.y = made(kind)
        import keras

        self.trainer = unidl.Trainer(
            self.model,
            optimizer=keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=1.0),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            device=os.environ.get("DEVICES", "cpu"),
        )

    def until(self, epochs: int, folder: Path | None = None) -> dict[str, np.ndarray]:
        """Train up to the end of an epoch, on from what is in a folder for checkpoints, if one is given. Return
        weights, metrics of each epoch, and outputs."""
        import keras

        saving: dict[str, Any] = {} if folder is None else {"checkpoint": folder, "resume": True}
        held_out = (keras.tree.map_structure(lambda array: array[:20], self.x), self.y[:20])
        options = {"validation_data": held_out, "callbacks": self.callbacks, "progress": "quiet"}
        history = self.trainer.fit(self.x, self.y, BATCH, epochs, **options, **saving).history
        found = {
            f"{self.kind} weight {number}": np.array(keras.ops.convert_to_numpy(weight))
            for number, weight in enumerate(self.model.weights)  # whose names depend on what was built before
        }
        found |= {f"{self.kind} metric {name}": np.array(values) for name, values in history.items()}
        found[f"{self.kind} is compiled"] = np.array(self.trainer.why_not_compiled is None)
        return found | {f"{self.kind} outputs": np.asarray(self.trainer.predict(self.x))}


def main(out: str, kinds: str, epochs: str, *folders: str) -> None:
    """Train models of these kinds, such as "lstm,cnn". epochs: such as "1,2", one number for each folder."""
    ends = [int(number) for number in epochs.split(",")]
    results: dict[str, np.ndarray] = {}
    for kind in kinds.split(","):
        training = Training(kind)
        for end, folder in zip_longest(ends, map(Path, folders)):
            found = training.until(end, folder)
        results |= found
    rank = next((os.environ[name] for name in ("RANK", "SLURM_PROCID", "INDEX") if name in os.environ), "0")
    np.savez(f"{out}-{rank}.npz", **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
