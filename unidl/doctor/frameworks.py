"""Each adapter and its framework, asked in a process of its own."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unidl import registry
from unidl.backend import Device

TIMEOUT_SECONDS = 240
"""TensorFlow from a cold disk takes half a minute, and so does the first check of the kernels on a busy machine; what
takes four times that is stuck."""

log = logging.getLogger("unidl")


@dataclass(frozen=True)
class Answer:
    """What a backend says of itself once it is loaded, or why it cannot be."""

    why_not: str | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])
    load_seconds: float | None = None
    """To import the framework and Keras."""
    devices: tuple[Device, ...] = ()
    why_no_gpu: str | None = None
    device: str | None = None
    """What "auto" chooses, as `Device.id`; likewise `precision`."""
    device_reason: str | None = None
    precision: str | None = None
    precision_reason: str | None = None
    kernels_off: tuple[str, ...] = ()
    """Sentences on the kernels that stay off with this Keras."""


@dataclass(frozen=True)
class Framework:
    """One known backend."""

    name: str
    framework: str
    """Its own spelling, for messages."""
    installed: bool
    version: str | None
    selected: bool
    """Whether unidl would take it now."""
    usable: bool
    answer: Answer


def frameworks() -> tuple[Framework, ...]:
    """Ask every known backend in turn. Raises `BackendError` if the adapters cannot be listed."""
    rows: list[Framework] = []
    for status in registry.backends():
        if status.installed:
            log.info("asking %s, in a process of its own", status.framework)
            answer = ask(status.name)
        else:
            answer = Answer(why_not=status.why_not)
        usable = answer.why_not is None
        rows.append(
            Framework(
                status.name,
                status.framework,
                status.installed,
                status.version,
                status.selected,
                usable,
                answer,
            )
        )
    return tuple(rows)


def ask(name: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Load one backend in a process of its own. Whatever happens to that process becomes the reason."""
    with tempfile.TemporaryDirectory(prefix="unidl-doctor-") as folder:
        answer, output = Path(folder, "answer.json"), Path(folder, "output.txt")
        # -P: a file torch.py in the current folder is not the framework.
        command = [sys.executable, "-P", "-m", "unidl.doctor.probe", name, str(answer)]
        try:
            with output.open("wb") as stream:
                exit_code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_seconds,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired:
            return Answer(why_not=f"it gave no answer within {timeout_seconds:g} s of being loaded")
        if not answer.is_file():
            return Answer(why_not=_death(exit_code, output.read_text(encoding="utf-8", errors="replace")))
        found = json.loads(answer.read_text(encoding="utf-8"))
    found["devices"] = tuple(_device(**row) for row in found.get("devices", ()))
    return Answer(**found | {"kernels_off": tuple(found.get("kernels_off", ()))})


def _device(compute_capability: list[int] | None, **fields: Any) -> Device:
    """JSON knows no tuples."""
    major_minor = (compute_capability[0], compute_capability[1]) if compute_capability else None
    return Device(compute_capability=major_minor, **fields)


def _death(exit_code: int, output: str) -> str:
    """Say how a process ended that left no answer, with its last words."""
    if exit_code < 0:
        how = f"loading it killed its process by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    else:
        how = f"loading it ended its process with exit code {exit_code}"
    lines = output.strip().splitlines()
    return f"{how}; its last line: {lines[-1].strip()}" if lines else how
