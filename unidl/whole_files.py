"""Files that appear whole or not at all: written beside their place, flushed to the disk, and renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """Give the name of a file beside `target`, which takes its place at the end; if anything fails, what was there
    stays. Whenever this process is killed, a reader finds the old file or the new one, never a half.

    The name ends as that of `target` does, since Keras tells its formats by it. What the system says against it is
    raised as it is (`OSError`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(4)}.unidl-{target.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        flush_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file, and have its content on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Have the names in a directory written to the disk."""
    if os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
