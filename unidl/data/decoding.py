"""Processes that decode files, where that is asked for in place of threads: each answers one thread at a time.

A process is started as a command of its own and not by `multiprocessing`: nothing is forked after a framework has
started its threads, and a script needs no `if __name__ == "__main__"`. It ends with the pipe to it, so that none
survives this process, however that ends.
"""

from __future__ import annotations

import atexit
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np

from unidl.errors import DataError, UnidlError
from unidl.shortening import shortened

COMMAND = (sys.executable, "-P", "-m", "unidl.data.decoding_worker")
IDLE_SECONDS = 5.0
"""After which processes end that nobody has asked for anything: a chunk of an epoch follows the last one sooner."""
STOP_SECONDS = 5.0


class DecodingError(DataError):
    """A process that decodes files has died: no file is at fault, and so none can be skipped."""


class DecodingProcess:
    """One process, which calls functions of this package and gives back the arrays that they return."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`, with the process
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C goes only to the parent, which decides
        )
        self.is_ready = True
        """Whether it waits for a call."""

    @property
    def process_id(self) -> int:
        """The number by which the system knows it."""
        return self._process.pid

    def call(self, function: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
        """Return what a function returns for these arguments, or raise the `UnidlError` that it raises.

        Raises `DecodingError` if the process dies.
        """
        self.is_ready = False
        try:
            requests, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
            pickle.dump((function, arguments), requests)
            requests.flush()
            answer = pickle.load(answers)
            found = answer if isinstance(answer, UnidlError) else _array(answers, *answer)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise DecodingError(
                f"A process that decodes images (process {self.process_id}) died while it read '{arguments[0]}': "
                f"{self._death()}. Use fewer workers, or threads: leave processes out."
            ) from error
        self.is_ready = True
        if isinstance(found, UnidlError):
            raise found
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # it may wait for a disk that does not answer
            self._process.wait(STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):  # what is left to be written finds no reader
                _pipe(pipe).close()

    def _death(self) -> str:
        """How the process ended, with the last line that it said."""
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return "it has closed its pipe and does not exit"
        if code < 0:
            return f"it was killed by signal {-code}" + (", possibly for lack of memory" if code == -9 else "")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return shortened(f"it exited with code {code}" + (f"; its last line: {lines[-1]}" if lines else ""))


class Decoders:
    """The processes of this process, which are started as they are needed and wait for more for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[DecodingProcess] = []
        self._users = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Inside it processes wait for calls; some time afterwards they end."""
        with self._lock:
            self._users += 1
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._timer = threading.Timer(IDLE_SECONDS, self._close_idle)
                    self._timer.daemon = True
                    self._timer.start()

    def call(self, function: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
        """Call a function in a process that has nothing else to do: as many threads as call, as many processes."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or DecodingProcess()
        try:
            return process.call(function, *arguments)
        finally:
            if process.is_ready:
                with self._lock:
                    self._idle.append(process)
            else:
                process.close()

    def close(self) -> None:
        """End all processes that wait for a call."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()

    def _close_idle(self) -> None:
        with self._lock:
            wanted = self._users > 0
        if not wanted:
            self.close()


DECODERS = Decoders()
atexit.register(DECODERS.close)


def _pipe(pipe: IO[Any] | None) -> IO[Any]:
    if pipe is None:
        raise DecodingError("A process that decodes images has no pipe.")
    return pipe


def _array(answers: IO[bytes], shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Read the numbers of an array, which follow its shape and its type."""
    array = np.empty(shape, dtype)
    left = array.reshape(-1).view(np.uint8).data
    while left:
        count = answers.readinto(left)  # pyright: ignore[reportAttributeAccessIssue] - of a buffered reader
        if not count:
            raise EOFError("The array ends too early.")
        left = left[count:]
    return array
