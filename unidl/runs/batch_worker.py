"""One size of batches in a process of its own: `python -m unidl.runs.batch_worker`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from unidl.workers.serving import Answer, Command, serve

FIRST_TO_GO = "1000"
"""The most that Linux lets a process offer itself to the one that ends processes when memory runs out (proc(5))."""


def main() -> None:
    """Answer one command: try batches of a size."""
    offer_to_end_first()
    serve(answer)


def answer(command: Command) -> Answer:
    """Build the model of a run and take a few steps."""
    from unidl import registry
    from unidl.runs.configuration import RunConfiguration
    from unidl.runs.training import loaded
    from unidl.runs.variables import environment

    with environment(UNIDL_DEVICE=command["device"], UNIDL_PRECISION=command["precision"]):
        registry.use(command["backend"])
        ready = loaded(RunConfiguration.from_json(command["run"]), Path("."), trust=command["trust"])
        return asdict(ready.trainer.try_steps(ready.train, command["batch_size"], command["steps"]))


def offer_to_end_first() -> None:
    """Let the system end this process, rather than another one, when memory runs out."""
    file = Path("/proc/self/oom_score_adj")
    if file.is_file():
        file.write_text(FIRST_TO_GO)


if __name__ == "__main__":
    main()
