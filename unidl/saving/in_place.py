"""Replacement of a directory's files without replacing the directory, for mount points and working directories.

A mount point cannot be renamed, and renaming another directory to its name would invalidate a process's working
directory. The files listed by the manifest are valid only while the manifest exists, so it is removed first and
written last; in between, a copy of the older files in a subfolder is valid.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from unidl.errors import SavedModelError
from unidl.saving.manifest import MANIFEST, read_manifest
from unidl.whole_files import flush_directory

PREVIOUS = ".unidl-previous"
INSIDE = re.compile(r"\.unidl-(previous|[0-9a-f]{8})")
"""Temporary names that a save in place uses inside its target."""


def must_stay(target: Path) -> bool:
    """Return whether a directory, given by its resolved path, must be written in place."""
    if not target.is_dir():
        return False
    try:
        standing = Path.cwd()
    except FileNotFoundError:  # it was removed meanwhile
        return os.path.ismount(target)
    return standing.is_relative_to(target) or os.path.ismount(target)


def write_in_place(target: Path, write: Callable[[Path], None]) -> None:
    """Replace the files of a directory. write: writes the new files and their manifest to a folder."""
    before = known_names(target)
    _remove(target, keep=None if (target / MANIFEST).exists() else PREVIOUS)
    new = _folder_in(target)
    try:
        write(new)
        flush_directory(new)
        _set_aside(target)
        names = {entry.name for entry in new.iterdir()} - {MANIFEST}
        for name in before - names:
            (target / name).unlink(missing_ok=True)
        for name in names:
            (new / name).replace(target / name)
        flush_directory(target)
        (new / MANIFEST).replace(target / MANIFEST)
        flush_directory(target)
    finally:
        # Without a manifest the copy stays valid, and the next save finds the files to remove here.
        if (target / MANIFEST).exists():
            _remove(target, keep=None)


def last_whole(path: Path) -> Path:
    """Return the directory that holds the valid files: itself, or a subfolder if a save in place was killed."""
    return path / PREVIOUS if not (path / MANIFEST).exists() and (path / PREVIOUS).is_dir() else path


def known_names(target: Path) -> set[str]:
    """Return the names of files that saves in place have written to a directory, or were about to."""
    names: set[str] = set()
    for folder in (target, *(entry for entry in target.iterdir() if INSIDE.fullmatch(entry.name))):
        try:
            names |= read_manifest(folder).keys()
        except SavedModelError:
            continue  # an unfinished save has moved no files yet
    return names


def _set_aside(target: Path) -> None:
    """Make a copy of the older files, if there are any, the valid one."""
    if not (target / MANIFEST).exists():
        return  # an older copy is already valid, or the directory was empty
    copy = _folder_in(target)
    for name in (*read_manifest(target), MANIFEST):
        _link(target / name, copy / name)
    flush_directory(copy)
    copy.rename(target / PREVIOUS)
    flush_directory(target)
    (target / MANIFEST).unlink()
    flush_directory(target)


def _link(source: Path, name: Path) -> None:
    """Hard-link a file; copy it where the file system does not support links."""
    try:
        os.link(source, name)
    except OSError:
        shutil.copy2(source, name)


def _folder_in(target: Path) -> Path:
    folder = target / f".unidl-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _remove(target: Path, keep: str | None) -> None:
    """Remove the subfolders that saves have left; any that cannot be removed are harmless."""
    for entry in target.iterdir():
        if INSIDE.fullmatch(entry.name) and entry.name != keep:
            shutil.rmtree(entry, ignore_errors=True)
