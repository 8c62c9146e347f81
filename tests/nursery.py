"""Processes to be killed, at the price of a fork: what takes seconds to import is there when they begin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

UNTOUCHED = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Keras asks PyTorch for a GPU when it is imported, and PyTorch asks CUDA, which no child may use after that; with this
it asks the driver."""

IMPORTED = {"tensorflow": "tensorflow"}
"""What the parent imports, and does nothing with; else Keras on the framework. A child of a process that has set up a
device waits for ever for threads that only its parent has; Keras 3.15 sets one up on TensorFlow when it is imported."""

PARENT = """
import os, sys
import numpy, pytest, {imported}

child, status = 0, None
for _ in sys.stdin:
    if status is None and child:
        ended, found = os.waitpid(child, os.WNOHANG)
        status = found if ended else None
        answer = os.waitstatus_to_exitcode(status) if ended else "runs"
    else:
        child, status = os.fork(), None
        if child == 0:
            sys.path[:0] = {tests!r}
            exec({code!r})
            os._exit(0)
        answer = child
    print(answer, flush=True)
"""


HERE = Path(__file__).parent


class Nursery:
    """Runs `code` in one child after another; leaving the block ends the last of them."""

    def __init__(self, framework: str, code: str) -> None:
        imported = IMPORTED.get(framework, "keras")
        parent = PARENT.format(imported=imported, tests=[str(HERE), str(HERE / "training")], code=code)
        self._errors = tempfile.NamedTemporaryFile(prefix="unidl-nursery-")  # noqa: SIM115 - closed on leaving
        self._parent = subprocess.Popen(
            [sys.executable, "-c", parent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | UNTOUCHED | {"KERAS_BACKEND": framework},
        )
        self._child = 0
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._child and self.exit_code() is None:
            self.kill()
        self._parent.communicate(timeout=60)
        self._errors.close()

    def begin(self) -> None:
        """Start a child. The one before must have ended, and its exit code must have been seen."""
        self._child, self._code = int(self._asked()), None

    def exit_code(self) -> int | None:
        """Exit code of the child; None while it runs."""
        if self._code is None:
            answer = self._asked()
            self._code = None if answer == "runs" else int(answer)
        return self._code

    def kill(self) -> int:
        """Send SIGKILL, and return the exit code: -9, or another if the child was not there any more."""
        if self.exit_code() is None:
            os.kill(self._child, signal.SIGKILL)  # still this child: until it is asked, the parent buries nobody
        return self.wait()

    def wait(self) -> int:
        """Return the exit code once the child has ended."""
        while (code := self.exit_code()) is None:
            time.sleep(0.002)
        return code

    def said(self) -> str:
        """Return the end of what all of them have written to the standard error."""
        return Path(self._errors.name).read_text(errors="replace")[-4000:]

    def _asked(self) -> str:
        pipes = self._parent.stdin, self._parent.stdout
        if pipes[0] is None or pipes[1] is None:
            raise AssertionError("the parent has no pipes")
        pipes[0].write("\n")
        pipes[0].flush()
        return pipes[1].readline().strip()
