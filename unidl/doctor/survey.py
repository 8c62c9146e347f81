"""Everything `unidl doctor` reports, as one value."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from unidl.doctor import advice
from unidl.doctor.frameworks import Framework, frameworks
from unidl.errors import BackendError
from unidl.machine.memory import Container, Memory, container, memory
from unidl.machine.nvidia import Gpus, gpus
from unidl.machine.processor import Processor, processor
from unidl.registry import AUTO
from unidl.version import __version__

# Only the TF_* variables of TensorFlow: Terraform stores tokens in TF_TOKEN_*, and this goes into bug reports.
ENVIRONMENT = re.compile(
    r"(UNIDL|KERAS|JAX|XLA|TORCH|PYTORCH|OMP|MKL)_\w+|(CUDA|NVIDIA)_(VISIBLE_DEVICES|TF32_OVERRIDE)"
    r"|CUDA_(HOME|PATH|LAUNCH_BLOCKING)|LD_LIBRARY_PATH"
    r"|TF_(CPP|CUDNN|DETERMINISTIC|ENABLE|FORCE|GPU|NUM|USE|XLA)_\w+"
)
"""Environment variables that change the behavior of a framework."""


@dataclass(frozen=True)
class Python:
    """The Python interpreter and its platform."""

    version: str
    implementation: str
    executable: str
    platform: str


@dataclass(frozen=True)
class Choice:
    """The value that "auto" selects now; `value` is None if there is none."""

    value: str | None
    reason: str
    overridden_by: str | None = None
    """The environment variable that overrides it, as NAME=value."""


@dataclass(frozen=True)
class Automatic:
    """The defaults of a program that requests nothing."""

    backend: Choice
    device: Choice
    precision: Choice


@dataclass(frozen=True)
class Survey:
    """The whole survey. Sizes are in bytes; unknown values are None."""

    unidl_version: str
    keras_version: str | None
    python: Python
    frameworks: tuple[Framework, ...]
    why_no_frameworks: str | None
    """Why the adapters could not be listed."""
    automatic: Automatic
    processor: Processor
    memory: Memory
    container: Container
    gpus: Gpus
    environment: Mapping[str, str]
    advice: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether at least one backend can be used."""
        return any(framework.usable for framework in self.frameworks)


def survey() -> Survey:
    """Run the survey. Loads each installed framework in a separate process, which takes seconds."""
    why_no_frameworks = None
    try:
        rows = frameworks()
    except BackendError as error:
        rows, why_no_frameworks = (), str(error)
    cpu, gpu, main_memory = processor(), gpus(), memory()
    environment = relevant(os.environ)
    return Survey(
        __version__,
        _version("keras"),
        Python(platform.python_version(), platform.python_implementation(), sys.executable, platform.platform()),
        rows,
        why_no_frameworks,
        automatic(rows, environment),
        cpu,
        main_memory,
        _lower(container(), cpu, main_memory),
        gpu,
        environment,
        advice.advise(rows, gpu, environment, why_no_frameworks),
    )


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change the behavior of a framework, in alphabetical order."""
    return {name: environment[name] for name in sorted(environment) if ENVIRONMENT.fullmatch(name)}


def automatic(rows: tuple[Framework, ...], environment: Mapping[str, str]) -> Automatic:
    """Return what "auto" selects and why, from the answers of the backends."""
    source = next((name for name in ("UNIDL_BACKEND", "KERAS_BACKEND") if environment.get(name)), None)
    asked = f"{source}={environment[source]}" if source else None
    row = next((row for row in rows if row.selected), None)
    if row is None:
        reason = f"{asked} is not a known backend" if asked else "no framework is installed"
        if source and environment[source] == AUTO:
            reason = f"{asked}, but no comparison has been made: run `unidl compare --choose`"
        return Automatic(Choice(None, reason), Choice(None, reason), Choice(None, reason))
    backend = Choice(row.name, f"set by {asked}" if asked else "the first one installed")
    if not row.usable:
        reason = f"{row.framework} cannot be used"
        return Automatic(backend, Choice(None, reason), Choice(None, reason))
    return Automatic(
        backend,
        Choice(row.answer.device, str(row.answer.device_reason), _setting("UNIDL_DEVICE", environment)),
        Choice(row.answer.precision, str(row.answer.precision_reason), _setting("UNIDL_PRECISION", environment)),
    )


def _setting(name: str, environment: Mapping[str, str]) -> str | None:
    value = environment.get(name)
    return f"{name}={value}" if value and value != "auto" else None


def _lower(limits: Container, cpu: Processor, main_memory: Memory) -> Container:
    """Drop limits above the machine's resources: cgroup version 1 expresses "no limit" by a huge number."""
    cores, size = limits.cpu_cores, limits.memory_bytes
    has_cores, has_bytes = cpu.usable_cores or float("inf"), main_memory.total_bytes or float("inf")
    return Container(
        cores if cores is not None and cores < has_cores else None,
        size if size is not None and size < has_bytes else None,
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
