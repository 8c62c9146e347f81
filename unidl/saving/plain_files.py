"""Files that are read as what they say they are: no link, no pipe, no device, of a known size."""

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
"""As far as the system has them. O_NONBLOCK, since to open a pipe would wait for its writer."""


def read_plain_file(path: Path, most: int, *, size: int | None = None, within: Path | None = None) -> bytes:
    """Return the content of a regular file of at most `most` bytes, and of `size` bytes if that is said.

    within: the directory that errors speak of, if not of the file alone. Raises `FileNotFoundError` if there is none,
    and `SavedModelError` if it is a link, a pipe or a folder, of another size, or cannot be read. The size is looked at
    before anything is read: a long file could fill the memory.
    """
    with opened_plain_file(path, within) as (file, found):
        _refuse_size(found, most, size, _shown(path, within))
        content = file.read(found + 1)
    if len(content) != found:
        shown = _shown(path, within)
        raise SavedModelError(f"Cannot load {shown} changed while it was read. Try again when nobody writes to it.")
    return content


def read_plain_start(path: Path, length: int, *, size: int, within: Path) -> bytes:
    """Return the first bytes of a regular file of `size` bytes, at most `length`. Raises as `read_plain_file` does."""
    with opened_plain_file(path, within) as (file, found):
        _refuse_size(found, size, size, _shown(path, within))
        return file.read(length)


@contextmanager
def opened_plain_file(path: Path, within: Path | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file, and close it at the end. Yields it and its size; raises as `read_plain_file` does."""
    shown = _shown(path, within)
    if path.is_symlink():  # also where the system has no O_NOFOLLOW
        raise _is_a_link(shown)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SavedModelError(f"Cannot load {shown} is no regular file.")
            yield file, status.st_size
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became one since
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
        raise SavedModelError(f"Cannot load {shown} has {found:,} bytes, and at most {most:,} are possible there.")


def _is_a_link(shown: str) -> SavedModelError:
    return SavedModelError(
        f"Cannot load {shown} is a link, and could name any file of this computer. Put the file itself there."
    )
