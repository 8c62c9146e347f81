"""What `unidl plan` says of the memory of training beside what it takes on the CPU. UNIDL_BACKEND: the framework.

    UNIDL_BACKEND=torch python benchmarks/plan_memory.py [MODEL ...]
    UNIDL_BACKEND=jax python benchmarks/plan_memory.py --compiled [MODEL ...]

Each batch size is tried in a process of its own, whose peak of main memory is measured as `unidl find-batch-size` does.
The process also holds Python, the framework and compiled programs, so the smallest size stands for those: a prediction
for a larger one is the peak of the smallest plus what the plan says the batch adds.

With --compiled nothing is trained: XLA says what the compiled step needs, beside what the plan says of all of it.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from unidl import Trainer, registry
from unidl.planning.memory import memory_need
from unidl.planning.subject import Subject, subject
from unidl.precision import FLOAT32
from unidl.runs.batch_sizes import in_a_process
from unidl.runs.configuration import RunConfiguration

SIZES = {"cnn": (256, 1024, 2048, 4096), "lstm": (256, 1024, 2048, 4096), "transformer": (64, 256, 512, 1024)}
STEPS = 2


class FoundError(Exception):
    """Ends a step once XLA has compiled it."""

    def __init__(self, analysis: Any) -> None:
        super().__init__("compiled")
        self.analysis = analysis


def measured(model: str, of: Subject, backend: str) -> None:
    """Try batches in processes, and print a line for each but the smallest."""
    where = {"backend": backend, "device": "cpu", "precision": "float32"}
    attempt = in_a_process(RunConfiguration.of(model=model), where, steps=STEPS)
    first, *rest = SIZES[model]
    base = attempt(first).peak_bytes
    for size in rest:
        peak = attempt(size).peak_bytes
        if base is None or peak is None:
            raise SystemExit("this system does not say how much memory a process takes")
        said(backend, model, size, peak, base + need(of, size) - need(of, first))


def compiled(model: str, of: Subject, backend: str) -> None:
    """Compile steps with JAX, and print a line for each batch size."""
    from unidl.runs.model_and_data import model_and_data

    built, data, _ = model_and_data(RunConfiguration.of(model=model))
    trainer = Trainer(built, device="cpu")
    loop: Any = trainer._loops.of_single_steps()
    step = loop._train_one

    def compile_only(*arguments: Any) -> Any:
        raise FoundError(step.lower(*arguments).compile().memory_analysis())

    loop._train_one = compile_only
    loops: Any = trainer._loops
    loops.of_single_steps = lambda: loop  # which is a new loop each time
    for size in SIZES[model][1:]:
        try:
            trainer.try_steps(data.train, size, 1)
        except FoundError as found:
            # Weights and optimizer are arguments, besides the data; gradients and activations are temporary.
            fixed = (1 + of.cost.slots) * 4 * of.cost.trainable
            said(backend, model, size, fixed + found.analysis.temp_size_in_bytes, need(of, size))


def need(of: Subject, size: int) -> float:
    """Return what the plan says of a batch."""
    return memory_need(of.cost, FLOAT32, size).total


def said(backend: str, model: str, size: int, found: float, predicted: float) -> None:
    """Print a line of the table."""
    figures = f"{found / 2**20:,.0f} | {predicted / 2**20:,.0f} | {predicted / found - 1:+.0%}"
    print(f"| {backend} | {model} | {size:,} | {figures} |", flush=True)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(SIZES))
    parser.add_argument("--compiled", action="store_true")
    arguments = parser.parse_args()
    os.environ |= {"UNIDL_DEVICE": "cpu", "UNIDL_PRECISION": "float32"}
    backend = registry.choice()[0].name
    print(
        "| backend | model | batch | measured MiB | predicted MiB | error |\n|---|---|---:|---:|---:|---:|", flush=True
    )
    for model in arguments.models:
        (compiled if arguments.compiled else measured)(model, subject(model), backend)


if __name__ == "__main__":
    main()
