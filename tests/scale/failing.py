"""Trains for ever in several processes, one of which fails: run as a program by `unidl launch`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from trained import BATCH, made

import unidl


def trainer() -> tuple[Any, Any, Any]:
    """The LSTM, which is to be trained for ever."""
    model, x, y = made("lstm")
    return unidl.Trainer(model, device="cpu"), x, y


def fail(how: str, victim: str, folder: Path) -> None:
    """Let one rank fail in the fourth epoch."""
    import keras

    ours, x, y = trainer()

    class Fails(keras.callbacks.Callback):
        """Counts as one of unidl's, so that it runs on every rank."""

        __module__ = "unidl.tests"

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 3 and os.environ["RANK"] == victim:
                (folder / "failed").write_text(str(time.time()))
                happens(how)

    if how == "nan":
        ours.model.optimizer.learning_rate = 1e30
    ours.fit(x, y, BATCH, 100_000, callbacks=[Fails()], progress="quiet", checkpoint=folder / "checkpoints")
    print(f"ended with signal {ours.signal} after {len(ours.history['loss'])} epochs")


def happens(how: str) -> None:
    """Fail in one of several ways."""
    if how == "raise":
        raise OSError("no space left on the disk of this rank")
    if how == "memory":
        raise MemoryError("Unable to allocate 8.00 TiB")
    if how == "leave":
        sys.exit(0)
    if how in ("kill", "terminate"):
        number = signal.SIGKILL if how == "kill" else signal.SIGTERM
        threading.Thread(target=lambda: (time.sleep(0.2), os.kill(os.getpid(), number))).start()


def differ(what: str) -> None:
    """Train on other data, or with other settings, on the second rank."""
    ours, x, y = trainer()
    second = os.environ["RANK"] == "1"
    if second and what == "data":
        x = x[::-1].copy()
    if second and what == "model":
        ours.model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    ours.fit(x, y, BATCH - (second and what == "settings"), 1, progress="quiet")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        differ(sys.argv[1])
    else:
        fail(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
