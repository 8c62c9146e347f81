"""Cache of facts about this machine for later processes. Everything in it can be determined again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unidl.errors import UnidlError
from unidl.reports import write_bytes

SCHEMA = 1


def cache_folder() -> Path:
    """Return UNIDL_CACHE_DIR, else the folder defined by the XDG Base Directory Specification."""
    chosen = os.environ.get("UNIDL_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unidl"


def read_kept(path: Path) -> dict[str, Any]:
    """Return the values written by `keep`, by key; empty if the file is missing, damaged, or of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["kept"]) if content["schema"] == SCHEMA else {}
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def keep(path: Path, key: str, value: Any, *, most: int) -> bool:
    """Atomically add a value to the newest ones in the file, `most` in total; return whether it could
    be written. If two processes write at the same time, one of the values may be lost and is then determined again."""
    others = {name: kept for name, kept in read_kept(path).items() if name != key}
    newest = dict([*others.items(), (key, value)][-most:])
    try:
        write_bytes(path, json.dumps({"schema": SCHEMA, "kept": newest}, indent=1).encode() + b"\n")
    except UnidlError:
        return False
    return True
