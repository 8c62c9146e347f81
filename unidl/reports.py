"""The folder of a report: asked for before the work, and written whole or not at all, file by file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from unidl.errors import UnidlError, UsageError


def require_writable(folder: Path) -> None:
    """Make the folder. Raises `UsageError` if nothing could be written to it: asked before minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"Cannot write to --out={str(folder)!r}: {error.strerror or error}.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through a temporary one beside it: a reader finds the old or the new one, never a half."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(temporary).chmod(0o644)  # mkstemp lets nobody else read it
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnidlError(f"Cannot write '{path}': {error.strerror or error}.") from error
