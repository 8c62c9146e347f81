"""Directories that appear whole or not at all, with a manifest that tells whether they are what was written."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unidl.errors import SavedModelError

MANIFEST = "manifest.json"
FORMAT = 1
DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in a directory that somebody has looked at."""


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name to content) and their manifest to the directory `path`.

    They are written to a temporary directory beside it, flushed to the disk, and renamed: whenever this process is
    killed, `read_directory` finds either the new files or those before. Raises `SavedModelError` if something is there
    that this function did not write, or nothing can be written.
    """
    _require_replaceable(path)
    entries = {name: {"bytes": len(content), "sha256": _hash(content)} for name, content in files.items()}
    manifest = json.dumps({"format": FORMAT, "files": entries}, indent=2).encode()
    target = path.resolve()
    temporary: Path | None = None
    try:
        temporary = _make_temporary(target)
        for name, content in (*files.items(), (MANIFEST, manifest)):
            _write_file(temporary / name, content)
        _flush_directory(temporary)
        _replace(target, temporary)
    except OSError as error:
        raise _cannot_save(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Raise `SavedModelError` if `write_directory` cannot begin to write to `path`: asked before training."""
    _require_replaceable(path)
    target = path.resolve()
    try:
        nearest = next(parent for parent in target.parents if parent.exists())
        _make_temporary(nearest / target.name).rmdir()
    except OSError as error:
        raise _cannot_save(path, error) from error


def read_directory(path: Path) -> dict[str, bytes]:
    """Return the files that `write_directory` wrote, each compared with the manifest.

    Raises `SavedModelError` if the directory is missing, is not ours, or a file is missing or has changed.
    """
    path = location(path)
    return {name: _read_file(path, name, entry) for name, entry in _read_manifest(path).items()}


def location(path: Path) -> Path:
    """Return where the files of `path` are: there, or in its last version if a save was killed between two renames.

    Raises `SavedModelError` if there is no such directory.
    """
    previous = _previous(path.resolve())
    try:
        if path.is_dir():
            return path
        if not path.exists() and previous.is_dir():
            return previous
    except OSError as error:
        raise SavedModelError(f"Cannot load {path}: {error.strerror or error}.") from error
    if path.exists():
        raise SavedModelError(
            f"Cannot load {path}: it is a file, and unidl saves a model as a directory. A .keras file is for "
            "keras.saving.load_model."
        )
    raise SavedModelError(f"Cannot load {path}: there is no such directory.")


def _require_replaceable(path: Path) -> None:
    try:
        why_not = _why_not_replaceable(path)
    except OSError as error:
        raise _cannot_save(path, error) from error
    if why_not is not None:
        raise SavedModelError(f"Cannot save to {path}: {why_not}. Choose another place, or remove it.")


def _why_not_replaceable(path: Path) -> str | None:
    """A reason to leave alone what is at `path`: anything that a save of ours would not have put there."""
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            return f"{part} is a file"
    if not path.exists():
        return None
    found = {entry.name for entry in path.iterdir()} - DESKTOP_FILES
    if not found:
        return None
    if MANIFEST not in found:
        return "the directory was not written by unidl"
    try:
        foreign = sorted(found - {MANIFEST} - _read_manifest(path).keys())
    except SavedModelError:
        return f"its {MANIFEST} is damaged or not unidl's"
    return f"it holds {foreign[0]!r}, which unidl did not write" if foreign else None


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    if not (path / MANIFEST).is_file():
        raise SavedModelError(
            f"Cannot load {path}: it has no {MANIFEST}, so unidl did not write it. Name the directory given to "
            "Trainer.save or --out."
        )
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise SavedModelError(
                f"Cannot load {path}: it has format {manifest['format']!r}, and this unidl reads format {FORMAT}."
            )
        entries = {
            name: {"bytes": entry["bytes"], "sha256": entry["sha256"]} for name, entry in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SavedModelError(f"Cannot load {path}: its {MANIFEST} is damaged ({error}).") from error
    for name in entries:
        if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
            raise SavedModelError(f"Cannot load {path}: its {MANIFEST} names {name!r}, which is no plain file name.")
    return entries


def _read_file(path: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    """Read a file of the size in the manifest, and no other: a longer one could fill the memory."""
    try:
        if not (path / name).is_file():
            raise SavedModelError(f"Cannot load {path}: {name} is missing. Restore it from a copy, or train again.")
        size = (path / name).stat().st_size
        content = (path / name).read_bytes() if size == entry["bytes"] else None
    except OSError as error:
        raise SavedModelError(f"Cannot load {path}: {name} cannot be read: {error.strerror or error}.") from error
    if content is None or _hash(content) != entry["sha256"]:
        sizes = f"{entry['bytes']} bytes expected, {size} found" if content is None else "same size, other content"
        raise SavedModelError(
            f"Cannot load {path}: {name} has changed since it was saved ({sizes}). Restore it from a copy, or train "
            "again."
        )
    return content


def _replace(target: Path, temporary: Path) -> None:
    """Put `temporary` in the place of `target`. A directory cannot be renamed over a full one, so the old one steps
    aside to a place that `location` knows; it goes when the new one is there, and comes back if that fails."""
    previous = _previous(target)
    try:
        if target.exists():
            if previous.exists():
                shutil.rmtree(previous)  # left by a save that was killed when it was all but done
            target.rename(previous)
        temporary.rename(target)
        _flush_directory(target.parent)
    finally:
        if target.exists():
            # What cannot be removed is in nobody's way: the next save tries again.
            shutil.rmtree(previous, ignore_errors=True)
        elif previous.exists():
            previous.rename(target)


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.unidl-previous"


def _make_temporary(target: Path) -> Path:
    """Make a directory beside `target`, with the permissions that a directory has by default, unlike `mkdtemp`'s."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.unidl-{secrets.token_hex(4)}"
    temporary.mkdir()
    return temporary


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


def _cannot_save(path: Path, error: OSError) -> SavedModelError:
    return SavedModelError(f"Cannot save to {path}: {error.strerror or error}.")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
