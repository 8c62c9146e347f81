"""A disk that fills up, and a machine that dies, between any two calls by which files change."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from processes import run

CALLS = ("mkdir", "rename", "unlink", "rmdir", "fsync")


class DeathError(BaseException):
    """In place of SIGKILL. Once it is raised no call changes the disk any more, so that no `finally` can tidy up."""


class Disk:
    """Counts the calls; the machine dies at one moment of them, or from one call on the disk is full.

    dies_at: each call has a moment before and one after it, a write also one in its midst. full_at: the number of the
    call among those that need room. power: whether the machine loses, as it dies, what was not flushed: the content
    of files, and new names in directories. Nothing reaches a real disk by `fsync`, which would cost most of the time.
    """

    def __init__(self, *, dies_at: int | None = None, full_at: int | None = None, power: bool = False) -> None:
        self.calls: Counter[str] = Counter()
        self.moments = 0
        self.needs = 0
        self.dead = False
        self._dies_at = dies_at
        self._full_at = full_at
        self._power = power
        self._open: dict[int, Path] = {}
        self._unflushed: list[Path] = []
        self._renamed: list[tuple[Path, Path]] = []

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside it `os` and `open` are this disk's."""
        real = {name: getattr(os, name) for name in CALLS}
        patches = [mock.patch.object(os, name, self._counted(name, real[name])) for name in CALLS]
        patches += [mock.patch.object(io, "open", self._opened), mock.patch.object(os, "open", self._noted(os.open))]
        try:
            for patch in patches:
                patch.start()
            yield
        finally:
            for patch in patches:
                patch.stop()
            if self.dead and self._power:
                self._lose()

    def passes(self) -> None:
        """One moment, which may be the last; after it nothing happens."""
        if self.dead or self.moments == self._dies_at:
            self.dead = True
            raise DeathError
        self.moments += 1

    def needs_room(self) -> None:
        """Once the disk is full it stays so."""
        self.needs += 1
        if self._full_at is not None and self.needs > self._full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            self.calls[name] += 1
            self.passes()
            if name in ("mkdir", "fsync"):
                self.needs_room()
            result = self._flushed(*words) if name == "fsync" else real(*words, **options)
            if name == "rename":
                self._moved(Path(words[0]), Path(words[1]))
            self.passes()
            return result

        return call

    def _noted(self, real: Callable[..., int]) -> Callable[..., int]:
        """`os.open`, by which directories are opened to be flushed."""

        def call(path: Any, flags: int, *words: Any, **options: Any) -> int:
            descriptor = real(path, flags, *words, **options)
            self._open[descriptor] = Path(path)
            return descriptor

        return call

    def _opened(self, path: Any, mode: str = "r", *words: Any, **options: Any) -> Any:
        if "w" not in mode:
            return io.FileIO(path) if mode == "rb" else OPEN(path, mode, *words, **options)
        self.passes()
        self.needs_room()
        raw = _File(self, path)
        self._open[raw.fileno()] = Path(path)
        self._unflushed.append(Path(path))
        return io.BufferedWriter(raw)

    def _flushed(self, descriptor: int) -> None:
        path = self._open[descriptor]
        self._unflushed = [other for other in self._unflushed if other != path]
        self._renamed = [names for names in self._renamed if names[1].parent != path]

    def _moved(self, source: Path, target: Path) -> None:
        self._renamed.append((source, target))
        self._unflushed = [
            target / path.relative_to(source) if path.is_relative_to(source) else path for path in self._unflushed
        ]

    def _lose(self) -> None:
        for path in self._unflushed:
            if path.exists():
                path.write_bytes(b"")
        for source, target in reversed(self._renamed):
            if target.exists() and not source.exists():
                target.rename(source)


OPEN = io.open


class _File(io.FileIO):
    """One whose writes are counted, and may break off."""

    def __init__(self, disk: Disk, path: Any) -> None:
        super().__init__(path, "w")
        self._disk = disk

    def write(self, content: Any) -> int:
        disk, half = self._disk, len(content) // 2
        disk.calls["write"] += 1
        disk.passes()
        written = super().write(content[:half])
        disk.passes()
        disk.needs_room()
        written += super().write(content[half:])
        disk.passes()
        return written


KILLED = """
import os, signal, sys
from pathlib import Path
from unidl.saving.directories import write_directory

calls = 0
def killing(real, number):
    def call(*words, **options):
        global calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **options)
    return call

inside, names, *paths = sys.argv[1:]
for number, path in enumerate(map(Path, paths), start=1):
    child = os.fork()
    if child == 0:
        if inside == "inside":
            os.chdir(path)
            path = Path(".")
        for name in names.split(","):
            setattr(os, name, killing(getattr(os, name), number))
        write_directory(path, {"weights": b"new weights, longer", "history": b"1,2"})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def killed_writing(paths: Sequence[Path], calls: Sequence[str], *, inside: bool = False) -> list[int]:
    """Have a process write a model to each path, the n-th of which is killed at the n-th of these calls of `os`, and
    return their exit codes. inside: whether it stands in the path meanwhile."""
    where = "inside" if inside else "beside"
    done = run(sys.executable, "-c", KILLED, where, ",".join(calls), *map(str, paths))
    return [int(line) for line in done.stdout.split()]
