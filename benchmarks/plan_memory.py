"""What `unidl plan` says of memory beside what training takes on the CPU: `python benchmarks/plan_memory.py`.

Each batch size is tried in a process of its own, whose peak of main memory is measured as `unidl find-batch-size` does.
The process also holds Python, the framework and compiled programs, so the smallest size stands for those: a prediction
for a larger one is the peak of the smallest plus what the plan says the batch adds. UNIDL_BACKEND: the framework.
"""

from __future__ import annotations

import argparse
import json
import os

from unidl import registry
from unidl.planning.memory import memory_need
from unidl.planning.subject import subject
from unidl.precision import FLOAT32
from unidl.runs.batch_sizes import in_a_process
from unidl.runs.configuration import RunConfiguration

SIZES = {"cnn": (256, 1024, 2048, 4096), "lstm": (256, 1024, 2048, 4096), "transformer": (64, 256, 512, 1024)}
STEPS = 2


def main() -> None:
    """Print a table in Markdown, or with --json one object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(SIZES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    backend = registry.choice()[0].name
    where = {"backend": backend, "device": "cpu", "precision": "float32"}
    if not arguments.json:
        print("| backend | model | batch | measured MiB | predicted MiB | error |\n|---|---|---:|---:|---:|---:|")
    os.environ |= {"UNIDL_DEVICE": "cpu", "UNIDL_PRECISION": "float32"}
    for model in arguments.models.split(","):
        cost = subject(model).cost
        attempt = in_a_process(RunConfiguration.of(model=model), where, steps=STEPS)
        first, *rest = SIZES[model]
        base = attempt(first).peak_bytes
        for size in rest:
            peak = attempt(size).peak_bytes
            if base is None or peak is None:
                raise SystemExit("this system does not say how much memory a process takes")
            added = memory_need(cost, FLOAT32, size).total - memory_need(cost, FLOAT32, first).total
            row = {"backend": backend, "model": model, "batch": size, "measured": peak, "predicted": base + added}
            error = row["predicted"] / peak - 1
            if arguments.json:
                print(json.dumps(row | {"error": error, "smallest": first, "measured_smallest": base}), flush=True)
            else:
                figures = f"{peak / 2**20:,.0f} | {row['predicted'] / 2**20:,.0f} | {error:+.0%}"
                print(f"| {backend} | {model} | {size} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
