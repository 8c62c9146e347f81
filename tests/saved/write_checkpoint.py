"""Write the checkpoint in this folder, and what the run would have come to: `python write_checkpoint.py`.

Run it on one backend; the tests go on from there on all of them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from training import moving_run, weights_of  # noqa: E402 - found only now

STEPS_UNTIL_SAVED = 20
"""In the middle of the second epoch, which has 13 steps."""


class StoppedError(Exception):
    """Ends the run that is to go on."""


def main() -> None:
    shutil.rmtree(HERE / "checkpoint", ignore_errors=True)
    unbroken = moving_run()
    np.savez(HERE / "checkpoint.npz", *weights_of(unbroken.model), **unbroken.history)
    with contextlib.suppress(StoppedError):
        moving_run(checkpoint=HERE / "checkpoint", save_every_steps=STEPS_UNTIL_SAVED, callbacks=[stop_in_second()])
    for path in sorted((HERE / "checkpoint").iterdir())[:-1]:
        shutil.rmtree(path)


def stop_in_second():
    """A callback that ends the run when the checkpoint in its second epoch is the newest."""
    import keras

    class Stop(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            if len(self.model.history.epoch) == 1:
                raise StoppedError

    return Stop()


if __name__ == "__main__":
    main()
