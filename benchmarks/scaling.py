"""What a sample costs as batches, sequences and data sets grow tenfold, and what memory a data set in a file takes.

Small and large take turns; a ratio of 1 is linear growth, below it the large one is cheaper a sample (and step).

    UNIDL_BACKEND=torch python benchmarks/scaling.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unidl import Trainer, build_cnn, build_lstm, registry

ROUND_SECONDS = 1.0
STREAMED_ROWS = (20_000, 200_000)
"""63 and 627 MB of images in float32."""


class Training:
    """Epochs of one model on made-up rows; `cost` is seconds a sample, and a step of a sequence."""

    def __init__(self, kind: str, *, batch: int, rows: int, steps: int = 20) -> None:
        drawn = np.random.default_rng(0)
        if kind == "cnn":
            model, shape = build_cnn(), (rows, 28, 28, 1)
            self._data = drawn.random(shape, dtype=np.float32), drawn.integers(10, size=rows)
        else:
            model = build_lstm(sequence_length=steps)
            self._data = drawn.integers(1000, size=(rows, steps)).astype(np.int32), drawn.integers(1000, size=rows)
        self._trainer = Trainer(model, device="cpu")
        self._batch, self._size = batch, rows * (steps if kind == "lstm" else 1)

    def cost(self) -> float:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < ROUND_SECONDS:
            self._trainer.fit(self._data, batch_size=self._batch, progress="quiet")
            done += self._size
        return (time.perf_counter() - started) / done


def growth(small: Training, large: Training, rounds: int) -> tuple[float, float, float]:
    """The cost of the large one as a share of that of the small one: median and range of the rounds."""
    for one in (small, large):
        one.cost()
    ratios = sorted(1 / (small.cost() / large.cost()) for _ in range(rounds))
    return float(np.median(ratios)), ratios[0], ratios[-1]


CASES: dict[str, Callable[[], tuple[Training, Training]]] = {
    "CNN, batch 32 and 320": lambda: (Training("cnn", batch=32, rows=1280), Training("cnn", batch=320, rows=1280)),
    "LSTM, batch 32 and 320": lambda: (Training("lstm", batch=32, rows=1280), Training("lstm", batch=320, rows=1280)),
    "LSTM, 20 and 200 steps": lambda: (
        Training("lstm", batch=64, rows=640),
        Training("lstm", batch=64, rows=640, steps=200),
    ),
    "CNN, 1 280 and 12 800 rows": lambda: (
        Training("cnn", batch=128, rows=1280),
        Training("cnn", batch=128, rows=12800),
    ),
}


def streamed_peak_bytes(rows: int, folder: Path) -> int:
    """The peak memory of a process that trains on so many images in a file."""
    images = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(rows, 28, 28, 1))
    drawn = np.random.default_rng(0)
    for first in range(0, rows, 10_000):
        images[first : first + 10_000] = drawn.random((10_000, 28, 28, 1), dtype=np.float32)
    images.flush()
    del images
    np.save(folder / "y.npy", drawn.integers(10, size=rows))
    command = [sys.executable, __file__, "--streamed", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[-1])


def train_streamed(folder: Path) -> None:
    """Train an epoch from a file, and print the memory that was the process's own at its peak, in bytes."""
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y"))
    peaks, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peaks.append(anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    Trainer(build_cnn(dense_units=8, filters=(4,)), device="cpu").fit((x, y), batch_size=128, progress="quiet")
    over.set()
    watcher.join()
    print(max(peaks))


def anonymous_bytes() -> int:
    """What this process holds beside pages of files, which the system takes back when it needs them (Linux's
    proc_pid_status(5))."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["--streamed"]:
        train_streamed(Path(arguments[1]))
        return
    rounds = int(arguments[0]) if arguments else 5
    print(registry.current().name)
    for name, make in CASES.items():
        median, low, high = growth(*make(), rounds)
        print(f"  {name}: x {median:.2f} ({low:.2f}-{high:.2f}) a sample", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        peaks = [streamed_peak_bytes(rows, Path(folder)) / 2**20 for rows in STREAMED_ROWS]
    print(f"  streamed from a file, {STREAMED_ROWS[0]:,} and {STREAMED_ROWS[1]:,} rows: "
          f"{peaks[0]:,.0f} and {peaks[1]:,.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
