"""Starts the processes of a run on this machine, passes on signals and output, and leaves none behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from unidl.errors import RankError
from unidl.ranks.connecting import free_port
from unidl.ranks.environment import RESTARTED
from unidl.ranks.exchange import GRACE_SECONDS

ENDING_SECONDS = GRACE_SECONDS + 2.0
"""After the first failure, how long the other ranks may take: they hear of it, and end by themselves."""
KILLING_SECONDS = 3.0
"""After SIGTERM, until SIGKILL."""
POLL_SECONDS = 0.05
ERROR = re.compile(r"^(\[rank\d+\]: )?([\w.]*(Error|Exception|Interrupt|Exit)\b|unidl: )")
"""How the last line of a traceback begins, and what the command line says."""
CONSEQUENCE = re.compile(rf"^[\w.]*{RankError.__name__}: |^unidl: rank \d+ (ended|failed|has ended|is at) ")
"""The error of a rank that ends because another one has failed."""
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
PARENT_DEATH = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""


@dataclass(frozen=True)
class Layout:
    """Which ranks this machine starts. size: of all machines. first, count: those here. host, port: where rank 0
    listens."""

    size: int
    first: int
    count: int
    host: str
    port: int

    def environment(self, local_rank: int, attempt: int) -> dict[str, str]:
        """Return the variables of one rank, those of torchrun."""
        return {
            "RANK": str(self.first + local_rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": self.host,
            "MASTER_PORT": str(self.port),
            RESTARTED: str(attempt),
        }


@dataclass
class Rank:
    """One process. last: the last error that it wrote, or else its last line. says_no_error: whether it wrote none."""

    number: int
    process: subprocess.Popen[bytes]
    last: str = ""
    says_no_error: bool = True
    readers: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to all processes that it has started as well."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)


def launch(
    command: Sequence[str],
    layout: Layout,
    *,
    restarts: int = 0,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a command in all ranks of this machine, and return the exit code: that of the rank that failed first.

    command: words, the first a program. restarts: how often to start all ranks again after one has failed: they go on
    from their checkpoints by themselves. environ: that of this process, by default.
    """
    for attempt in range(restarts + 1):
        if attempt and layout.count == layout.size:  # launchers on other machines know only the first port
            layout = replace(layout, port=free_port(layout.host))
        run = _Run(command, layout, attempt, environ or os.environ)
        code = run.wait()
        if code == 0 or run.signalled or attempt == restarts:
            return code
        sys.stderr.write(f"unidl launch: starting all ranks again ({attempt + 1} of {restarts})\n")
    raise RankError("The ranks were never started.")


class _Run:
    """One start of all ranks."""

    def __init__(self, command: Sequence[str], layout: Layout, attempt: int, environ: Mapping[str, str]) -> None:
        self.signalled = False
        self._writing = threading.Lock()
        self._started = time.monotonic()
        threads = str(max(1, (os.cpu_count() or 1) // layout.count))
        shared = {"OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1", **environ}
        self._ranks = [
            self._start(command, layout.first + local, shared | layout.environment(local, attempt))
            for local in range(layout.count)
        ]

    def wait(self) -> int:
        """Wait for all ranks; after the first failure, make the others end."""
        previous = {number: signal.signal(number, self._pass_on) for number in SIGNALS if _is_main()}
        try:
            failed = self._watch()
        finally:
            self._end_all()
            for number, handler in previous.items():
                signal.signal(number, handler)
        for rank in self._ranks:
            for reader in rank.readers:
                reader.join(timeout=2)
        return 0 if failed is None else self._told(failed)

    def _start(self, command: Sequence[str], number: int, environ: Mapping[str, str]) -> Rank:
        if shutil.which(command[0]) is None:  # before a fork, which is unsafe beside the threads of a framework
            raise RankError(f"Cannot start {command[0]!r}: there is no such program.")
        try:
            process = subprocess.Popen(
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            raise RankError(f"Cannot start {command[0]!r}: {error.strerror}.") from error
        rank = Rank(number, process)
        for stream, out in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            reader = threading.Thread(target=self._copy, args=(rank, stream, out), daemon=True)
            reader.start()
            rank.readers.append(reader)
        return rank

    def _copy(self, rank: Rank, stream: Any, out: IO[str]) -> None:
        """Write each line of a rank, with its number in front."""
        for line in stream:
            text = line.decode(errors="replace").rstrip("\r\n")
            if out is sys.stderr and text.strip() and (ERROR.search(text) or rank.says_no_error):
                rank.last = text
                rank.says_no_error = not ERROR.search(text)
            with self._writing:
                out.write(f"[{rank.number}] {text}\n")
                out.flush()

    def _watch(self) -> Rank | None:
        """Return the rank that failed first; None if none did."""
        deadline: float | None = None
        failed: list[Rank] = []
        while any(rank.process.poll() is None for rank in self._ranks):
            new = [rank for rank in self._ranks if rank.process.poll() not in (None, 0) and rank not in failed]
            failed += new
            if failed and deadline is None:
                deadline = time.monotonic() + ENDING_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        failed += [rank for rank in self._ranks if rank.process.poll() not in (None, 0) and rank not in failed]
        # Ranks that end because another has failed say so, by their exit code or their last error.
        codes = (0, RankError.exit_code)
        causes = [rank for rank in failed if rank.process.returncode not in codes and not CONSEQUENCE.search(rank.last)]
        return next(iter([*causes, *failed]), None)

    def _end_all(self) -> None:
        """End what still runs, and what the ranks have started."""
        for number, seconds in ((signal.SIGTERM, KILLING_SECONDS), (signal.SIGKILL, KILLING_SECONDS)):
            running = [rank for rank in self._ranks if rank.process.poll() is None]
            for rank in running:
                rank.signal(number, group=True)
            deadline = time.monotonic() + seconds
            while any(rank.process.poll() is None for rank in running) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        for rank in self._ranks:
            rank.signal(signal.SIGKILL, group=True)

    def _told(self, failed: Rank) -> int:
        code = int(failed.process.returncode or 0)
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        seconds = time.monotonic() - self._started
        said = f": {failed.last}" if failed.last else ""
        with self._writing:
            first = f"rank {failed.number} ended first, with {how}, after {seconds:.0f} s"
            sys.stderr.write(f"unidl launch: {first}{said}\n")
        return code if code > 0 else 128 - code

    def _pass_on(self, number: int, _: Any) -> None:
        self.signalled = True
        for rank in self._ranks:
            if rank.process.poll() is None:
                rank.signal(number)


def _end_with_parent() -> None:
    """In the new process: SIGTERM comes when the launcher ends, however it ends."""
    ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGTERM)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
