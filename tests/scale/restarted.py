"""Trains for some seconds with checkpoints, and is killed meanwhile: run as a program by `unidl launch --restarts`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

EPOCHS = 20


def main(folder: Path) -> None:
    """Say which process this is before anything else, train, and write the weights."""
    attempt, rank = os.environ["UNIDL_RESTARTED"], os.environ["RANK"]
    written = folder / f"{attempt}-{rank}.new"
    written.write_text(str(os.getpid()))
    written.rename(folder / f"{attempt}-{rank}")

    from trained import Training

    training = Training("lstm")
    import keras  # after unidl, which chooses its backend

    class Slow(keras.callbacks.Callback):
        """Counts as one of unidl's, so that it runs on every rank."""

        __module__ = "unidl.tests"

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            time.sleep(0.2)

    training.callbacks = [Slow()]
    import numpy as np

    found = training.until(EPOCHS, folder / "checkpoints")
    np.savez(folder / f"of-{rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
