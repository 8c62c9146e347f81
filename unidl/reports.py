"""The folder of a report: asked for before the work, and written whole or not at all, file by file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from unidl.errors import UnidlError, UsageError
from unidl.whole_files import replacing


def require_report_folder(folder: Path) -> None:
    """Make the folder. Raises `UsageError` if nothing could be written to it: asked before minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"Cannot write to --out={str(folder)!r}: {error.strerror or error}.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises `UnidlError` if it cannot be written."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UnidlError(f"Cannot write '{path}': {error.strerror or error}.") from error
