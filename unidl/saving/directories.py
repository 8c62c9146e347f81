"""Directories that appear whole or not at all, with a manifest that tells whether they are what was written."""

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
"""The names beside a target that a save uses for a moment: see `_previous` and `_make_temporary`."""
DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in a directory that somebody has looked at."""


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name to content) and their manifest to the directory `path`.

    They are written to a temporary directory beside it, flushed to the disk, and renamed: whenever this process is
    killed, `read_directory` finds either the new files or those before. A directory that this process stands in, or
    that is a mount point, stays, and its files are replaced. Raises `SavedModelError` if something is there
    that this function did not write, or nothing can be written.
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
    """Raise `SavedModelError` if `write_directory` cannot begin to write to `path`: asked before training."""
    _require_replaceable(path)
    target = path.resolve()
    try:
        nearest = target if must_stay(target) else next(parent for parent in target.parents if parent.exists())
        _make_temporary(nearest / (target.name or "model")).rmdir()
    except OSError as error:
        raise cannot_save(path, error) from error


def read_directory(path: Path, only: Collection[str] | None = None, *, most: int = LARGEST_FILE) -> dict[str, bytes]:
    """Return the files that `write_directory` wrote, each compared with the manifest before anybody parses it.

    only: the names of those that are wanted; one that the manifest lacks is left out. most: bytes of each. Raises
    `SavedModelError` if the directory is missing, is not ours, or a file is missing, a link, too long, or has changed.
    """
    path = location(path)
    entries = read_manifest(path)
    return {
        name: read_listed_file(path, name, entry, most)
        for name, entry in entries.items()
        if only is None or name in only
    }


def read_start(path: Path, name: str, length: int) -> tuple[bytes, int] | None:
    """Return the first bytes of a file that `write_directory` wrote, at most `length`, and its size; None if there is
    no such file. Only the size is compared with the manifest. Raises `SavedModelError` as `read_directory` does."""
    path = location(path)
    entry = read_manifest(path).get(name)
    return None if entry is None else (read_listed_start(path, name, entry, length), entry.bytes)


def sweep(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what saves to directories of these names in `folder` left when they were killed; finish one that was all
    but done. Only where nobody else saves to them now. What cannot be removed stays: it is in nobody's way.
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
    """Return where the files of `path` are: there, or in its last version if a save was killed between two renames.

    Raises `SavedModelError` if there is no such directory.
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
            f"Cannot load {path}: it is a file, and unidl saves a model as a directory. Of Keras's files load_model "
            "takes a .keras file, and load_weights(model, path) a .weights.h5 file."
        )
    raise SavedModelError(f"Cannot load {path}: there is no such directory.")


def _require_replaceable(path: Path) -> None:
    try:
        why_not = _why_not_replaceable(path)
    except OSError as error:
        raise cannot_save(path, error) from error
    if why_not is not None:
        raise SavedModelError(f"Cannot save to {path}: {why_not}. Choose another place, or remove it.")


def _why_not_replaceable(path: Path) -> str | None:
    """A reason to leave alone what is at `path`: anything that a save of ours would not have put there."""
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
        return f"its {MANIFEST} is damaged or not unidl's"
    return f"it holds {foreign[0]!r}, which unidl did not write" if foreign else None


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
        flush_directory(target.parent)
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


def cannot_save(path: Path, error: OSError) -> SavedModelError:
    """Return the error for a place that cannot be written."""
    reason = error.strerror or error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SavedModelError(
            f"Cannot save to {path}: {reason}. What was saved before is whole. Make room, or choose another disk."
        )
    return SavedModelError(f"Cannot save to {path}: {reason}.")
