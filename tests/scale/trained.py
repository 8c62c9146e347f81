"""Models trained alone or together with other ranks, and what came out: run as a program by `unidl launch`."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

BATCH = 16
ROWS = 2 * BATCH + 11
"""The last batch of an epoch is smaller, and does not divide by 2."""


def made(kind: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a model and its data. The functions are smooth: where a ReLU or a maximum decides between two values
    that are almost equal, rounding alone leads two runs apart."""
    import unidl
    from unidl.layers import Dropout

    import keras  # isort: skip - after unidl, which chooses its backend

    rng = np.random.default_rng(0)
    if kind == "lstm":
        model: Any = unidl.build_lstm(vocabulary_size=30, sequence_length=6, embedding_size=8, units=8, dropout=0.2)
        return model, rng.integers(2, 30, (ROWS, 6)).astype(np.int32), rng.integers(2, 30, ROWS)
    layers: Any = keras.layers
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(8, activation="tanh"),
            Dropout(0.25, seed=3),
            layers.Dense(5, activation="softmax"),
        ]
    )
    return model, rng.random((ROWS, 6, 6, 1), dtype=np.float32), rng.integers(0, 5, ROWS)


def trained(kind: str, epochs: int) -> dict[str, np.ndarray]:
    """Train, and return weights, metrics of each epoch, and outputs."""
    import unidl

    model, x, y = made(kind)
    import keras

    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=1.0)
    trainer = unidl.Trainer(
        model,
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        device=os.environ.get("DEVICES", "cpu"),
    )
    history = trainer.fit(x, y, BATCH, epochs, validation_data=(x[:20], y[:20]), progress="quiet")
    found = {
        f"{kind} weight {number}": np.array(keras.ops.convert_to_numpy(weight))
        for number, weight in enumerate(model.weights)  # whose names depend on what was built before
    }
    found |= {f"{kind} metric {name}": np.array(values) for name, values in history.history.items()}
    found[f"{kind} is compiled"] = np.array(trainer.why_not_compiled is None)
    return found | {f"{kind} outputs": np.asarray(trainer.predict(x))}


if __name__ == "__main__":
    out, epochs = sys.argv[1], int(sys.argv[2])
    results = trained("lstm", epochs) | trained("cnn", epochs)
    np.savez(f"{out}-{os.environ.get('RANK', 0)}.npz", **results)
