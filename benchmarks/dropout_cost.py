"""What dropout costs a training step of the CNN: none, Keras's own, and the one whose masks are alike on every backend.

The three take turns; the ratio is the median of those of the rounds, with its range.

    UNIDL_BACKEND=jax python benchmarks/dropout_cost.py [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

from unidl import Trainer, build_cnn, registry

ROWS, BATCH = 2048, 128
RATE = 0.5


def made(kind: str) -> Trainer:
    """The CNN without dropout, with ours, or with Keras's in its place."""
    registry.current()
    if kind != "keras":
        return Trainer(build_cnn(dropout=RATE if kind == "ours" else 0.0), device="cpu")
    keras: Any = import_module("keras")
    ours = build_cnn(dropout=RATE)

    def stock(layer: Any) -> Any:
        if isinstance(layer, keras.layers.Dropout):
            return keras.layers.Dropout(RATE, seed=1, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    model = keras.models.clone_model(ours, clone_function=stock)
    return Trainer(model, device="cpu", loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    drawn = np.random.default_rng(0)
    data = drawn.random((ROWS, 28, 28, 1), dtype=np.float32), drawn.integers(10, size=ROWS)
    trainers = {kind: made(kind) for kind in ("none", "ours", "keras")}

    def seconds(kind: str) -> float:
        started = time.perf_counter()
        trainers[kind].fit(data, batch_size=BATCH, epochs=2, progress="quiet")
        return time.perf_counter() - started

    for kind in trainers:
        seconds(kind)
    times = [{kind: seconds(kind) for kind in trainers} for _ in range(rounds)]
    for kind in ("ours", "keras"):
        ratios = sorted(row[kind] / row["none"] for row in times)
        print(
            f"{registry.current().name}: dropout of {'unidl' if kind == 'ours' else 'Keras'}: "
            f"{float(np.median(ratios)) - 1:+.1%} of a step ({ratios[0] - 1:+.1%} to {ratios[-1] - 1:+.1%})"
        )


if __name__ == "__main__":
    main()
