"""All measurements of a GPU in minutes, on a machine that is rented by the minute.

    python benchmarks/gpu.py --backends jax,torch --out results/gpu
    python benchmarks/gpu.py --out results/gpu --sections speed-jax,large-jax

Each section is a process with a time limit of its own and leaves its files in a folder; one whose files are there is
not run again, so an interrupted run is continued by the same command. `--limit` is the time for everything: what does
not fit into the rest of it is left for the next call.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
UNIDL = (sys.executable, "-c", "import sys; from unidl.cli.main import main; sys.exit(main())")


@dataclass(frozen=True)
class Section:
    """One process: its name, its command, the file that shows that it has ended, and its time limit."""

    name: str
    command: Sequence[str]
    file: str
    seconds: int
    standard_output: bool = False
    """Whether what it prints is the file."""


def sections(backends: Sequence[str], out: Path) -> Iterator[Section]:
    """Yield all sections, in the order of what one would miss most."""
    yield Section("machine", ("nvidia-smi",), "nvidia-smi.txt", 20, standard_output=True)
    yield Section("doctor", (*UNIDL, "doctor", "--json"), "doctor.json", 60, standard_output=True)
    for backend in backends:
        for name, options in {
            "speed": ("--models", "cnn,lstm", "--against", "native", "--seconds", "2", "--training-only"),
            "keras": ("--models", "cnn,lstm", "--against", "keras", "--rows", "16384", "--training-only"),
            "bfloat16": ("--models", "cnn", "--batch-size", "1024", "--precision", "mixed_bfloat16"),
            "transformer": (
                "--models",
                "transformer,resnet",
            ),
        }.items():
            folder = out / f"{name}-{backend}"
            command = (sys.executable, str(HERE / "gpu_speed.py"), "--backend", backend, *options, "--out", str(folder))
            yield Section(folder.name, command, f"{folder.name}/report.md", 120)
        file = f"large-{backend}.json"
        command = (sys.executable, str(HERE / "gpu_large.py"), "--backend", backend, "--out", str(out / file))
        yield Section(f"large-{backend}", command, file, 150)
    measuring = (*UNIDL, "doctor", "--measure", "--json", "--backend", backends[0])
    yield Section("measure", measuring, "measured.json", 90, standard_output=True)
    certifying = (*UNIDL, "verify", "cnn", "lstm", "--backends", ",".join(backends), "--devices", "cpu,gpu")
    yield Section("verify", (*certifying, "--out", str(out / "certificate")), "certificate/certificate.md", 150)


def run(section: Section, out: Path, seconds: float) -> str:
    """Run a section for at most `seconds`, and return how it ended."""
    log = out / f"{section.name}.log"
    # JAX would take three quarters of the memory, and its process outlives the section by a moment.
    environment = os.environ | {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "UNIDL_DEVICE": os.environ.get("UNIDL_DEVICE", "gpu"),
    }
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            section.command,
            stdout=subprocess.PIPE if section.standard_output else errors,
            stderr=errors,
            env=environment,
        ) as process,
    ):
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            return f"stopped after {seconds:.0f} s; see {log}"
    if section.standard_output and process.returncode == 0:
        (out / section.file).write_bytes(printed)
    return "done" if process.returncode == 0 else f"failed with exit code {process.returncode}; see {log}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="jax,torch,tensorflow")
    parser.add_argument("--sections", help="comma-separated; all by default")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds for everything")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + options.limit
    wanted = options.sections.split(",") if options.sections else None
    for section in sections(options.backends.split(","), options.out):
        left = ends - time.monotonic()
        if (wanted is not None and section.name not in wanted) or (options.out / section.file).exists():
            continue
        if left < 10:
            print(f"{section.name}: no time left", flush=True)
            continue
        started = time.monotonic()
        ended = run(section, options.out, min(section.seconds, left))
        print(f"{section.name}: {ended} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
