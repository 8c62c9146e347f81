"""What `unidl plan` says of the memory of training beside what it takes on the CPU. UNIDL_BACKEND: the framework.

    UNIDL_BACKEND=torch python benchmarks/plan_memory.py [MODEL ...]

Measured: weights and optimizer as the plan has them, and beside them by how much a process grows with batches of each
size, or with --counted what the framework counts itself. Predicted: from the shapes alone, and with --calibrate, which
counts batches of a quarter and half of the smallest size here.
"""

from __future__ import annotations

import argparse
import os

from unidl import registry
from unidl.planning.calibration import calibrate, counted
from unidl.planning.memory import memory_need
from unidl.planning.subject import subject
from unidl.precision import FLOAT32
from unidl.runs.configuration import RunConfiguration

SIZES = {"cnn": (1024, 2048, 4096), "lstm": (1024, 2048, 4096), "transformer": (256, 512, 1024)}


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(SIZES))
    parser.add_argument("--counted", action="store_true", help="compare with the framework's own count")
    arguments = parser.parse_args()
    os.environ |= {"UNIDL_DEVICE": "cpu", "UNIDL_PRECISION": "float32"}
    backend = registry.choice()[0].name
    print("| backend | model | batch | measured MiB | from shapes | error | calibrated | error |")
    print("|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for model in arguments.models:
        of, sizes = subject(model), SIZES[model]
        configuration = RunConfiguration.of(model=model)
        calibration = calibrate(configuration, backend, (sizes[0] // 4, sizes[0] // 2))
        found, _ = counted(configuration, backend, sizes, resident=not arguments.counted)
        for size, beside in zip(sizes, found, strict=True):
            need = memory_need(of.cost, FLOAT32, size)
            measured = need.weights + need.optimizer + beside
            line = f"| {backend} | {model} | {size:,} | {measured / 2**20:,.0f}"
            for predicted in (need, memory_need(of.cost, FLOAT32, size, calibration=calibration)):
                line += f" | {predicted.total / 2**20:,.0f} | {predicted.total / measured - 1:+.0%}"
            print(f"{line} |", flush=True)


if __name__ == "__main__":
    main()
