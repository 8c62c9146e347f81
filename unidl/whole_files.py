"""Atomic writing of files: to a temporary file in the same folder, flushed to disk, and renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """Yield the name of a temporary file that replaces `target` on exit; if anything fails, the old file
    stays. Whenever this process is killed, readers find either the old file or the new one, never a partial one.

    The name has the suffix of `target`, since Keras chooses the format by it. Errors of the system are
    raised unchanged (`OSError`).
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
    """Write a file and flush it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Flush the names in a directory to disk."""
    if os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
