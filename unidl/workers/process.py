"""The parent's side of a worker: send commands, receive answers or the reason of a failure."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from unidl.errors import UnidlError
from unidl.out_of_memory import says_out_of_memory

CHOICES = ("UNIDL_BACKEND", "UNIDL_DEVICE", "UNIDL_PRECISION", "KERAS_BACKEND")
"""Environment variables that a worker must not inherit from its parent."""
REASON_LENGTH = 300
STOP_SECONDS = 5.0


class WorkerError(UnidlError):
    """Raised if a worker dies, answers with an error, or does not answer in time; the message states which.

    exit_code: of the error it answered with, if that is a unidl error. goes_on: whether the worker still accepts
    commands: it rejected this one with a unidl error.
    """

    def __init__(self, message: str, exit_code: int = UnidlError.exit_code, *, goes_on: bool = False) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.goes_on = goes_on


def python_module(name: str) -> tuple[str, ...]:
    """Return the command that runs a module. -P keeps a file torch.py in the current folder from being imported."""
    return (sys.executable, "-P", "-m", name)


class WorkerProcess:
    """One worker process. command: starts a module that calls `unidl.workers.serving.serve`. environment: additional
    environment variables."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`, with the process
        self._process: subprocess.Popen[str] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={name: value for name, value in os.environ.items() if name not in CHOICES} | dict(environment or {}),
            start_new_session=True,  # Ctrl-C goes only to the parent, which decides
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True)
        self._reader.start()

    def ask(self, command: Mapping[str, Any], limit_seconds: float) -> dict[str, Any]:
        """Send one command and return its answer. Raises `WorkerError`; unless its `goes_on` is set, the process has
        ended or must be closed."""
        try:
            _pipe(self._process.stdin).write(json.dumps(command) + "\n")
            _pipe(self._process.stdin).flush()
            line = self._answers.get(timeout=limit_seconds)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            raise WorkerError(f"no answer to '{command['command']}' within {limit_seconds:g} s") from None
        if not line:
            raise WorkerError(self._death())
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            raise WorkerError(f"its answer cannot be read: {shortened(line)}") from None
        if "error" in answer:
            exit_code = answer.get("exit_code", UnidlError.exit_code)
            raise WorkerError(in_words(answer["error"]), exit_code, goes_on=answer.get("refused", False))
        return answer

    @property
    def process_id(self) -> int:
        """The number by which the system knows it."""
        return self._process.pid

    def end(self) -> None:
        """Kill the process; a command that waits for its answer then fails."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process immediately."""
        process = self._process
        if process.poll() is None:
            process.kill()
        with suppress(subprocess.TimeoutExpired):  # it may wait for a device that does not answer
            process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        for stream in (process.stdin, process.stdout, self._errors):
            _close(stream)

    def _death(self) -> str:
        """Return how the process ended, with its last line of output."""
        try:
            exit_code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its output but does not exit"
        if exit_code < 0:
            how = f"killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
            if -exit_code == getattr(signal, "SIGKILL", None):
                how += ", possibly for lack of memory"
        else:
            how = f"exited with code {exit_code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return in_words(f"{how}; its last line: {lines[-1].strip()}" if lines else how)


def in_words(error: str) -> str:
    """Return an error in one short line, with the running out of memory said in plain words."""
    short = shortened(error)
    if says_out_of_memory(error):
        return f"out of memory: {short}"
    return short


def shortened(text: str) -> str:
    """Return the text as one line of at most `REASON_LENGTH` characters."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 3]}..."


def _read(stream: IO[str] | None, answers: queue.SimpleQueue[str]) -> None:
    for line in _pipe(stream):
        answers.put(line)
    answers.put("")


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise WorkerError("the worker has no pipe")
    return stream


def _close(stream: IO[Any] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:  # the reader of the remaining output has exited
        pass
