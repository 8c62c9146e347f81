"""Reading of regular files of known size; links, pipes and devices are rejected."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unidl.errors import SavedModelError

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Flags that the system supports. O_NONBLOCK, because opening a pipe would wait for its writer."""


def read_plain_file(path: Path, most: int, *, size: int | None = None, within: Path | None = None) -> bytes:
    """Return the content of a regular file of at most `most` bytes, and of exactly `size` bytes if given.

    within: the directory to name in errors; None names only the file. Raises `FileNotFoundError` if it does not exist,
    and `SavedModelError` if it is a link, a pipe or a folder, has a different size, or cannot be read. The size is
    checked before reading, since a long file could exhaust memory.
    """
    with opened_plain_file(path, within) as (file, found):
        _refuse_size(found, most, size, _shown(path, within))
        content = file.read(found + 1)
    if len(content) != found:
        shown = _shown(path, within)
        raise SavedModelError(
            f"Cannot load {shown} changed while it was being read. Try again when no other process is writing to it."
        )
    return content


def read_plain_start(path: Path, length: int, *, size: int, within: Path) -> bytes:
    """Return up to `length` first bytes of a regular file of `size` bytes. Raises as `read_plain_file` does."""
    with opened_plain_file(path, within) as (file, found):
        _refuse_size(found, size, size, _shown(path, within))
        return file.read(length)


@contextmanager
def opened_plain_file(path: Path, within: Path | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file. Yields the file and its size; raises as `read_plain_file` does."""
    shown = _shown(path, within)
    if path.is_symlink():  # also on systems without O_NOFOLLOW
        raise _is_a_link(shown)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SavedModelError(f"Cannot load {shown} is not a regular file.")
            yield file, status.st_size
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became a link since the check
            raise _is_a_link(shown) from error
        raise SavedModelError(f"Cannot load {shown} cannot be read: {error.strerror or error}.") from error


def _shown(path: Path, within: Path | None) -> str:
    return f"{path}: it" if within is None else f"{within}: {path.name}"


def _refuse_size(found: int, most: int, size: int | None, shown: str) -> None:
    if size is not None and found != size:
        raise SavedModelError(
            f"Cannot load {shown} has changed since it was saved ({size} bytes expected, {found} found). Restore "
            "it from a copy, or train again."
        )
    if found > most:
        raise SavedModelError(f"Cannot load {shown} has {found:,} bytes; at most {most:,} are allowed.")


def _is_a_link(shown: str) -> SavedModelError:
    return SavedModelError(
        f"Cannot load {shown} is a link, which could point to any file on this computer. Replace it by the file itself."
    )
