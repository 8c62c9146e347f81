"""Machine and software of a result. Contains no paths, host names or user names, since results are published."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from unidl.machine.memory import container, memory
from unidl.machine.nvidia import gpus
from unidl.machine.processor import processor
from unidl.machine.versions import version_of

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "UNIDL_PREALLOCATE",
)
"""Environment variables that affect the speed of a framework and contain no path."""


def environment(frameworks: Mapping[str, str | None]) -> dict[str, Any]:
    """Return it as JSON values, None where unknown. Does not import a framework. frameworks: their versions."""
    limits = container()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()} {'-'.join(platform.libc_ver())}".rstrip("- "),
        "processor": asdict(processor()),
        "memory_bytes": memory().total_bytes,
        "container": asdict(limits),
        "gpus": [asdict(gpu) for gpu in gpus().found],
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": {name: version_of(name, (name,)) for name in ("keras", "numpy")},
        "frameworks": dict(frameworks),
    }


def machine(values: dict[str, Any]) -> str:
    """Describe the machine in one line."""
    cpu = values["processor"]
    parts = [f"{cpu['model'] or cpu['architecture']}, {cpu['usable_cores']} usable cores"]
    parts += [gpu["name"] for gpu in values["gpus"]]
    parts.append(f"Python {values['python']}")
    parts += [f"{name} {version}" for name, version in values["frameworks"].items()]
    parts += [f"{name} {version}" for name, version in values["versions"].items()]
    return ", ".join(parts)
