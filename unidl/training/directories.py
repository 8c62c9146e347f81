"""Directories that appear whole or not at all, with a manifest that tells whether they still are what was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unidl.errors import SavedModelError

MANIFEST = "manifest.json"
FORMAT = 1


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name to content) and their manifest to the directory `path`.

    They are written to a temporary directory beside it, flushed to the disk, and renamed. An older directory of ours is
    replaced; raises `SavedModelError` if anything else is there, or nothing can be written.
    """
    if path.exists() and not is_ours(path):
        raise SavedModelError(
            f"Cannot save to {path}: it exists and was not written by unidl. Choose another place or remove it."
        )
    entries = {name: {"bytes": len(content), "sha256": _hash(content)} for name, content in files.items()}
    manifest = json.dumps({"format": FORMAT, "files": entries}, indent=2).encode()
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        for name, content in (*files.items(), (MANIFEST, manifest)):
            _write_file(temporary / name, content)
        _flush_directory(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        _replace(path, temporary)
    except OSError as error:
        raise SavedModelError(f"Cannot save to {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_directory(path: Path) -> dict[str, bytes]:
    """Return the files that `write_directory` wrote, each compared with the manifest.

    Raises `SavedModelError` if the directory is missing, is not ours, or a file is missing or has changed.
    """
    if not path.is_dir():
        raise SavedModelError(f"Cannot load {path}: there is no such directory.")
    if not (path / MANIFEST).is_file():
        raise SavedModelError(
            f"Cannot load {path}: it has no {MANIFEST}, so unidl did not write it. Name the directory given to "
            "Trainer.save or --out."
        )
    files: dict[str, bytes] = {}
    for name, entry in _read_manifest(path).items():
        if Path(name).name != name:
            raise SavedModelError(f"Cannot load {path}: its {MANIFEST} names {name!r}, outside the directory.")
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            raise SavedModelError(f"Cannot load {path}: {name} cannot be read: {error.strerror}.") from error
        if len(content) != entry["bytes"] or _hash(content) != entry["sha256"]:
            raise SavedModelError(
                f"Cannot load {path}: {name} has changed since it was saved ({entry['bytes']} bytes expected, "
                f"{len(content)} found, and the hash must match). Restore it from a copy, or train again."
            )
        files[name] = content
    return files


def is_ours(path: Path) -> bool:
    """Whether `path` is a directory that `write_directory` wrote, or an empty one."""
    return path.is_dir() and ((path / MANIFEST).is_file() or not any(path.iterdir()))


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            raise SavedModelError(
                f"Cannot load {path}: it has format {manifest['format']}, and this unidl reads format {FORMAT}."
            )
        return {
            str(name): {"bytes": entry["bytes"], "sha256": entry["sha256"]} for name, entry in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SavedModelError(f"Cannot load {path}: its {MANIFEST} is damaged ({error}).") from error


def _replace(path: Path, temporary: Path) -> None:
    """Put `temporary` in the place of `path`. A directory cannot be renamed over a full one, so the old one steps
    aside first; it is removed only when the new one is there, and comes back if that fails."""
    aside: Path | None = None
    if path.exists():
        aside = temporary.with_name(temporary.name + "-old")
        path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        if aside is not None:
            aside.rename(path)
        raise
    _flush_directory(path.parent)
    if aside is not None:
        shutil.rmtree(aside)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The permissions new files do not get; `mkdtemp` makes directories that only their owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
