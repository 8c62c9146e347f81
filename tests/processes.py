"""Python in a process of its own, for what a process can do only once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHOICES = ("UNIDL_BACKEND", "UNIDL_DEVICE", "UNIDL_PRECISION", "KERAS_BACKEND")


def run(*words: str, cwd: Path | None = None, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it said. environment: variables to set, or with None to unset."""
    variables = dict(os.environ)
    for name, value in environment.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    return subprocess.run(
        words, cwd=cwd, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def python(code: str, **environment: str | None) -> str:
    """Run Python code and return what it printed, without the last line end. Fails if it fails."""
    done = run(sys.executable, "-c", code, **environment)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout.rstrip("\n")


def unidl(*words: str, cwd: Path | None = None, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command line and return what it said."""
    return run(sys.executable, "-m", "unidl", *words, cwd=cwd, **environment)
