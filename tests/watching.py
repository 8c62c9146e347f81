"""What code that reads a hostile file must not do, noticed: files that are written, sockets, processes, pickles,
settings that change, memory that grows, time that passes."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MOST_SECONDS = 10.0
"""A bound on bombs, not a measure of speed: such a file is refused in some milliseconds, and a bomb takes minutes."""
MOST_BYTES = 300 * 2**20

FORBIDDEN = (
    "socket.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.",
    "pickle.",
    "ctypes.",
    "urllib.",
)
COMPILED = os.environ.get("JAX_COMPILATION_CACHE_DIR")
"""Where whoever runs the tests has told JAX to keep what it compiles: not written by what is watched."""
_seen: list[str] | None = None


def _hook(event: str, arguments: tuple) -> None:
    if _seen is None:
        return
    if event.startswith(FORBIDDEN):
        _seen.append(f"{event} {arguments!r}"[:200])
    elif event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if COMPILED and str(arguments[0]).startswith(COMPILED):
            return
        _seen.append(f"a file is written: {arguments[0]!r}")


sys.addaudithook(_hook)  # Python cannot take one away again


@contextmanager
def watched(place: Path) -> Iterator[None]:
    """Fail if what runs inside does any of it. place: a folder that must not change."""
    global _seen
    before, settings, memory = content(place), _settings(), _memory_mark()
    start = time.perf_counter()
    _seen = []
    try:
        yield
    finally:
        seen, _seen = _seen, None
    seconds, taken = time.perf_counter() - start, _memory_taken(memory)
    assert not seen, seen
    assert _settings() == settings
    assert content(place) == before
    assert taken < MOST_BYTES, f"{taken / 2**20:.0f} MiB"
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"


def content(place: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder, by what tells that it was written to."""
    found = {path: path.lstat() for path in place.rglob("*")}
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def _settings() -> tuple:
    import keras

    config = keras.config
    return (
        *(config.floatx(), config.dtype_policy().name, config.image_data_format(), config.epsilon()),
        *(random.getstate(), str(np.random.get_state())),
        keras.Variable.__init__,
        keras.initializers.GlorotUniform.__call__,
    )


def _memory_mark() -> int:
    """Let the system forget the peak of this process, and return what it has now; 0 where only Linux could. What was
    freed and is kept for later goes back first: it could be taken without a trace."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError):  # AttributeError: a C library without malloc_trim
        return 0


def _memory_taken(mark: int) -> int:
    return _status("VmHWM") - mark if mark else 0


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
