"""The output folder of a report: checked before the work, with each file written atomically."""

from __future__ import annotations

import tempfile
from pathlib import Path

from unidl.errors import UnidlError, UsageError
from unidl.whole_files import replacing


def require_report_folder(folder: Path) -> None:
    """Create the folder. Raises `UsageError` if it is not writable, to find out before minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"Cannot write to --out={str(folder)!r}: {error.strerror or error}.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises `UnidlError` if it cannot be written."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UnidlError(f"Cannot write '{path}': {error.strerror or error}.") from error
