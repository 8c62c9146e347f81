"""Directories that are written atomically, with a manifest against which their files are checked."""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from unidl.errors import SavedModelError
from unidl.saving.in_place import INSIDE, known_names, last_whole, must_stay, write_in_place
from unidl.saving.manifest import (
    LARGEST_FILE,
    MANIFEST,
    manifest_of,
    read_listed_file,
    read_listed_start,
    read_manifest,
)
from unidl.whole_files import flush_directory, write_flushed

LEFT = re.compile(r"\.(.+)\.unidl-(previous|[0-9a-f]{8})")
"""Temporary names that a save uses beside its target: see `_previous` and `_make_temporary`."""
DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers create in a directory they display."""


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name to content) and their manifest to the directory `path`.

    The files are written to a temporary directory beside it, flushed to disk, and renamed: whenever this process is
    killed, `read_directory` finds either the new files or the old ones. If `path` is a working directory or a mount
    point, the directory stays and its files are replaced. Raises `SavedModelError` if `path` holds anything
    that this function did not write, or cannot be written.
    """
    _require_replaceable(path)
    target = path.resolve()
    temporary: Path | None = None

    def write(folder: Path) -> None:
        for name, content in (*files.items(), (MANIFEST, manifest_of(files))):
            write_flushed(folder / name, content)

    try:
        if must_stay(target):
            write_in_place(target, write)
            return
        temporary = _make_temporary(target)
        write(temporary)
        flush_directory(temporary)
        _replace(target, temporary)
    except OSError as error:
        raise cannot_save(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Raise `SavedModelError` if `write_directory` cannot write to `path`. Called before training."""
    _require_replaceable(path)
    target = path.resolve()
    try:
        nearest = target if must_stay(target) else next(parent for parent in target.parents if parent.exists())
        _make_temporary(nearest / (target.name or "model")).rmdir()
    except OSError as error:
        raise cannot_save(path, error) from error


def read_directory(path: Path, only: Collection[str] | None = None, *, most: int = LARGEST_FILE) -> dict[str, bytes]:
    """Return the files that `write_directory` wrote, each checked against the manifest before it is parsed.

    only: names of the files to read; those missing from the manifest are left out. most: maximum bytes per file. Raises
    `SavedModelError` if the directory is missing or not unidl's, or a file is missing, a link, too long, or changed.
    """
    path = location(path)
    entries = read_manifest(path)
    return {
        name: read_listed_file(path, name, entry, most)
        for name, entry in entries.items()
        if only is None or name in only
    }


def read_start(path: Path, name: str, length: int) -> tuple[bytes, int] | None:
    """Return up to `length` first bytes of a file that `write_directory` wrote, and its size; None if there is no such
    file. Only the size is compared with the manifest. Raises `SavedModelError` as `read_directory` does."""
    path = location(path)
    entry = read_manifest(path).get(name)
    return None if entry is None else (read_listed_start(path, name, entry, length), entry.bytes)


def sweep(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what killed saves to directories of these names left in `folder`; complete a save that was almost done.
    Call it only while no other process saves to them. Files that cannot be removed are harmless and stay.
    """
    with contextlib.suppress(OSError):
        for entry in folder.iterdir() if folder.is_dir() else ():
            left = LEFT.fullmatch(entry.name)
            if left is None or names.fullmatch(left[1]) is None:
                continue
            if left[2] == "previous" and not (folder / left[1]).exists():
                entry.rename(folder / left[1])
            else:
                shutil.rmtree(entry, ignore_errors=True)


def location(path: Path) -> Path:
    """Return the directory that holds the files of `path`: itself, or its previous version if a save was killed midway.

    Raises `SavedModelError` if the directory does not exist.
    """
    previous = _previous(path.resolve())
    try:
        if path.is_dir():
            return last_whole(path)
        if not path.exists() and previous.is_dir():
            return previous
    except OSError as error:
        raise SavedModelError(f"Cannot load {path}: {error.strerror or error}.") from error
    if path.exists():
        raise SavedModelError(
            f"Cannot load {path}: it is a file, but unidl saves a model as a directory. For Keras's files, load_model "
            "takes a .keras file, and load_weights(model, path) a .weights.h5 file."
        )
    raise SavedModelError(f"Cannot load {path}: the directory does not exist.")


def _require_replaceable(path: Path) -> None:
    try:
        why_not = _why_not_replaceable(path)
    except OSError as error:
        raise cannot_save(path, error) from error
    if why_not is not None:
        raise SavedModelError(f"Cannot save to {path}: {why_not}. Choose another place, or remove it.")


def _why_not_replaceable(path: Path) -> str | None:
    """Return why `path` must not be overwritten: it holds something that unidl did not write. None if it may be."""
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            return f"{part} is a file"
    if not path.exists():
        return None
    found = {entry.name for entry in path.iterdir() if INSIDE.fullmatch(entry.name) is None} - DESKTOP_FILES
    if not found:
        return None
    if MANIFEST not in found:
        return None if found <= known_names(path) else "the directory was not written by unidl"
    try:
        foreign = sorted(found - {MANIFEST} - read_manifest(path).keys())
    except SavedModelError:
        return f"its {MANIFEST} is damaged or was not written by unidl"
    return f"it contains {foreign[0]!r}, which unidl did not write" if foreign else None


def _replace(target: Path, temporary: Path) -> None:
    """Replace `target` by `temporary`. A directory cannot be renamed over a non-empty one, so the old one is moved to
    a name that `location` knows. It is removed once the new one is in place, and restored if that fails."""
    previous = _previous(target)
    try:
        if target.exists():
            if previous.exists():
                shutil.rmtree(previous)  # left by a save that was killed just before its end
            target.rename(previous)
        temporary.rename(target)
        flush_directory(target.parent)
    finally:
        if target.exists():
            # Leftovers that cannot be removed are harmless; the next save tries again.
            shutil.rmtree(previous, ignore_errors=True)
        elif previous.exists():
            previous.rename(target)


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.unidl-previous"


def _make_temporary(target: Path) -> Path:
    """Create a directory beside `target` with default permissions, which `mkdtemp` does not use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.unidl-{secrets.token_hex(4)}"
    temporary.mkdir()
    return temporary


def cannot_save(path: Path, error: OSError) -> SavedModelError:
    """Return the error for a path that cannot be written."""
    reason = error.strerror or error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SavedModelError(
            f"Cannot save to {path}: {reason}. The previous save is intact. Free some space, or choose another disk."
        )
    return SavedModelError(f"Cannot save to {path}: {reason}.")
