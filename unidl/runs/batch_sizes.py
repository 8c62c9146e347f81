"""The search for a batch size: twice as large each time, in a process of its own, until the memory is not enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidl.errors import UnidlError
from unidl.out_of_memory import says_out_of_memory
from unidl.runs.configuration import RunConfiguration
from unidl.workers.process import WorkerError, WorkerProcess, python_module

STEPS = 3
"""Steps whose time is taken, of each size."""
LARGEST = 65536
"""Batches above this are no longer searched for."""
CLOSE = 0.98
"""Of two sizes that are as fast as this share of each other the smaller one is the better choice."""
LIMIT_SECONDS = 1800.0
"""After which a trial is stuck."""
LOOK_SECONDS = 0.02

Try = Callable[[int], "Tried"]


@dataclass(frozen=True)
class Tried:
    """One size. rows_per_second, peak_bytes: None where it failed, or is not known; failure: why it did."""

    batch_size: int
    rows_per_second: float | None = None
    peak_bytes: int | None = None
    failure: str | None = None

    @property
    def fits(self) -> bool:
        """Whether the memory was enough."""
        return self.failure is None


@dataclass(frozen=True)
class BatchSizes:
    """What a search has found: every size that was tried, in order of size."""

    tried: tuple[Tried, ...]

    @property
    def largest(self) -> int | None:
        """The largest size that fits."""
        return max((one.batch_size for one in self.tried if one.fits), default=None)

    @property
    def fastest(self) -> int | None:
        """The smallest size of those that take about the most rows a second."""
        speeds = {one.batch_size: one.rows_per_second or 0.0 for one in self.tried if one.fits}
        best = max(speeds.values(), default=0.0)
        return min((size for size, speed in speeds.items() if speed >= CLOSE * best), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"largest": self.largest, "fastest": self.fastest, "tried": [asdict(one) for one in self.tried]}


def search_batch_size(
    attempt: Try, *, first: int = 1, largest: int = LARGEST, bisect: bool = False, tell: Callable[[Tried], None]
) -> BatchSizes:
    """Try sizes from `first` on, each twice the one before, until one does not fit; with `bisect` also those between
    the last two, down to a sixteenth. Raises `UnidlError` if the first one fails for another reason than memory."""
    tried: list[Tried] = []

    def one(size: int) -> bool:
        found = attempt(size)
        tried.append(found)
        tell(found)
        if found.failure is not None and not _is_memory(found.failure):
            raise UnidlError(f"Batches of {size} cannot be tried: {found.failure}")
        return found.fits

    size = first
    while size <= largest and one(size):
        size *= 2
    failed = next((each.batch_size for each in tried if not each.fits), None)
    if bisect and failed is not None and failed > first:
        low, high = failed // 2, failed
        while high - low > max(1, low // 16):
            middle = (low + high) // 2
            low, high = (middle, high) if one(middle) else (low, middle)
    return BatchSizes(tuple(sorted(tried, key=lambda each: each.batch_size)))


def in_a_process(
    configuration: RunConfiguration,
    where: Mapping[str, str | None],
    *,
    trust: bool = False,
    steps: int = STEPS,
    most_bytes: int | None = None,
) -> Try:
    """Return what tries a size in a new process. where: backend, device and precision. most_bytes: of main memory that
    the process may take, where the system is not to run out of it."""

    def attempt(size: int) -> Tried:
        worker = WorkerProcess(python_module("unidl.runs.batch_worker"))
        watch = _Watch(worker, most_bytes)
        command = {
            "command": "try",
            "run": configuration.to_json(),
            "trust": trust,
            "batch_size": size,
            "steps": steps,
            **where,
        }
        try:
            found = worker.ask(command, LIMIT_SECONDS)
        except WorkerError as error:
            return Tried(size, failure=watch.said or str(error))
        finally:
            watch.stop()
            worker.close()
        return Tried(size, size / found["step_seconds"], found["peak_bytes"] or watch.peak_bytes)

    return attempt


class _Watch:
    """Looks at the main memory that a process takes, and ends it when that is too much."""

    def __init__(self, worker: WorkerProcess, most_bytes: int | None) -> None:
        self.peak_bytes: int | None = None
        self.said: str | None = None
        self._worker, self._most_bytes = worker, most_bytes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopped.is_set():
            taken = resident_bytes(self._worker.process_id)
            if taken is not None:
                self.peak_bytes = max(taken, self.peak_bytes or 0)
                if self._most_bytes is not None and taken > self._most_bytes:
                    self.said = f"out of memory: it took more than the {self._most_bytes / 2**20:,.0f} MiB allowed"
                    self._worker.end()
                    return
            time.sleep(LOOK_SECONDS)


def resident_bytes(process_id: int) -> int | None:
    """Return the main memory that a process takes; None where Linux's /proc does not say it."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith("VmRSS:")), None)
    return None if found is None else int(found[1]) * 1024


def _is_memory(failure: str) -> bool:
    """Whether memory was the reason: frameworks say so, and the system ends a process by SIGKILL."""
    return says_out_of_memory(failure) or "as systems do when memory runs out" in failure
