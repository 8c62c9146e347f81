"""`unidl compare` on a rented GPU: all cells of one framework in one process, which starts once.

    python benchmarks/gpu_speed.py --backend jax --models cnn,lstm --against native --out results/gpu/jax

A process of each cell, as `unidl compare` has it, takes 12 seconds to start on such a machine, of minutes that are paid
for. What it cannot tell here: the memory of a cell. Its results.json is that of `unidl compare`; `unidl compare --from`
draws several of them as one report.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import Any

from unidl.compare.cells import cells
from unidl.compare.measure import Plan, measure
from unidl.compare.output import write_all, write_results
from unidl.compare.progress import Lines
from unidl.compare.worker import Worker
from unidl.workers.process import WorkerError


class Here:
    """A worker in this process, with the methods of a worker process."""

    def __init__(self) -> None:
        self._worker: Worker | None = Worker()

    def ask(self, command: dict[str, Any], limit_seconds: float) -> dict[str, Any]:
        """Execute a command; any error is one of this cell."""
        if self._worker is None:
            raise WorkerError("it is closed")
        try:
            return self._worker.answer(command)
        except Exception as error:
            raise WorkerError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let go of the model and its memory."""
        self._worker = None
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--models", default="cnn,lstm")
    parser.add_argument("--batch-size", default="128")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--against", default="native")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--training-only", action="store_true", help="leave out inference and the peak rate")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    groups = cells(
        models=options.models.split(","),
        backends=[options.backend],
        device=options.device,
        precisions=options.precision.split(","),
        batch_sizes=[int(size) for size in options.batch_size.split(",")],
        against=options.against.split(","),
    )
    plan = Plan(options.rounds, options.seconds, options.rows, extras=not options.training_only)
    launch: Any = Here
    run = measure(groups, plan, Lines(sys.stdout), launch, keep=lambda run: write_results(options.out, [run]))
    for path in write_all(options.out, [run]):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
