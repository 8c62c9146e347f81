"""Trains for ever in several processes, one of which fails: run as a program by `unidl launch`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from trained import BATCH, made

import unidl


def trainer() -> tuple[Any, Any, Any]:
    """The LSTM, which is to be trained for ever."""
    model, x, y = made("lstm")
    return unidl.Trainer(model, device="cpu"), x, y


def fail(how: str) -> None:
    """Fail in a moment, as the second rank."""
    import keras

    ours, x, y = trainer()

    class Fails(keras.callbacks.Callback):
        """Counts as one of unidl's, so that it runs on every rank."""

        __module__ = "unidl.tests"

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch != 3 or os.environ["RANK"] != "1":
                return
            if how == "raise":
                raise OSError("no space left on the disk of rank 1")
            if how == "kill":
                threading.Thread(target=lambda: (time.sleep(0.2), os.kill(os.getpid(), signal.SIGKILL))).start()
            if how == "leave":
                sys.exit(0)

    rate = 1e30 if how == "nan" else 1e-3
    ours.model.optimizer.learning_rate = rate
    print("fails", flush=True)
    ours.fit(x, y, BATCH, 100_000, callbacks=[Fails()], progress="quiet", checkpoint=sys.argv[2], resume=True)


def differ(what: str) -> None:
    """Train on other data, or with other settings, on the second rank."""
    ours, x, y = trainer()
    second = os.environ["RANK"] == "1"
    if second and what == "data":
        x = x[::-1].copy()
    if second and what == "model":
        ours.model.set_weights([weight + 1 for weight in ours.model.get_weights()])
    ours.fit(x, y, BATCH - (second and what == "settings"), 1, progress="quiet")


if __name__ == "__main__":
    (differ if sys.argv[1] in ("data", "model", "settings") else fail)(sys.argv[1])
