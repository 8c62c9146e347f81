"""What unidl has found out about this machine and keeps for the next process: it can always be found out again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unidl.errors import UnidlError
from unidl.reports import write_bytes

SCHEMA = 1


def cache_folder() -> Path:
    """Return UNIDL_CACHE_DIR, else the folder that the XDG Base Directory Specification names."""
    chosen = os.environ.get("UNIDL_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unidl"


def read_kept(path: Path) -> dict[str, Any]:
    """Return what `keep` wrote, by its keys; nothing if the file is missing, damaged, or another version's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["kept"]) if content["schema"] == SCHEMA else {}
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def keep(path: Path, key: str, value: Any, *, most: int) -> bool:
    """Write a value beside the newest others of the file, `most` in all, whole or not at all; return whether it could
    be written. Two processes that write at the same time may lose one of the values, which is then found out again."""
    others = {name: kept for name, kept in read_kept(path).items() if name != key}
    newest = dict([*others.items(), (key, value)][-most:])
    try:
        write_bytes(path, json.dumps({"schema": SCHEMA, "kept": newest}, indent=1).encode() + b"\n")
    except UnidlError:
        return False
    return True
