"""Images a second of large models on a GPU, trained by `Trainer.fit` in mixed bfloat16 at 224 pixels.

    python benchmarks/gpu_large.py --backend torch --models ResNet50,VGG16 --out results/gpu/large-torch.json

The median epoch counts, so neither compiling nor the copy of the images to the GPU does. FLOPs are those of the model's
products (`training_flops`), so their share of the data sheet's rate is the utilisation of PaLM's paper (appendix B).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import unidl
from unidl.compare.flops import training_flops
from unidl.reports import write_bytes

EPOCHS = 6
BATCHES = 8


def measured(name: str, batch_size: int, side: int, precision: str) -> dict[str, Any]:
    """Train a model of `keras.applications` and return what was measured."""
    import keras

    draws = np.random.default_rng(0)
    x = draws.random((batch_size * BATCHES, side, side, 3), dtype=np.float32)
    y = draws.integers(0, 1000, len(x)).astype(np.int32)
    keras.config.set_dtype_policy(precision)
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))
    trainer = unidl.Trainer(
        model, optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=[], precision=precision
    )
    started = time.perf_counter()
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    trainer.fit(x, y, batch_size=batch_size, epochs=EPOCHS, callbacks=[clock], progress="quiet")
    seconds = float(np.median(np.diff(ends)))
    return {
        "model": name,
        "backend": keras.backend.backend(),
        "precision": precision,
        "batch_size": batch_size,
        "images_per_second": len(x) / seconds,
        "first_epoch_seconds": ends[0] - started,
        "flops_per_second": (training_flops(model) or 0.0) * len(x) / seconds,
        "losses": trainer.history["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--models", default="ResNet50,VGG16")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    unidl.use(options.backend)
    found = []
    for name in options.models.split(","):
        found.append(measured(name, options.batch_size, options.side, options.precision))
        print(found[-1], flush=True)
        write_bytes(options.out, json.dumps(found, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
