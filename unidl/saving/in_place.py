"""A directory whose files are replaced while it stays the same directory: one that somebody stands in, a mount point.

Renaming another directory to its name would leave whoever stands in it nowhere, and a mount point cannot be renamed.
What the manifest lists counts only while the manifest is there, so that goes first and comes back last; meanwhile a
copy of the older files, in a folder inside, is what counts.
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
"""The names inside a target that a save in place uses for a moment."""


def must_stay(target: Path) -> bool:
    """Whether a directory, its path resolved, is to be written in place."""
    if not target.is_dir():
        return False
    try:
        standing = Path.cwd()
    except FileNotFoundError:  # somebody has removed it
        return os.path.ismount(target)
    return standing.is_relative_to(target) or os.path.ismount(target)


def write_in_place(target: Path, write: Callable[[Path], None]) -> None:
    """Replace the files of a directory. write: fills a folder with the new ones and their manifest."""
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
        # Without a manifest it goes on counting what was set aside, and the next save finds here what to remove.
        if (target / MANIFEST).exists():
            _remove(target, keep=None)


def last_whole(path: Path) -> Path:
    """Where the files of a directory are: there, or in a folder inside if a save in place was killed."""
    return path / PREVIOUS if not (path / MANIFEST).exists() and (path / PREVIOUS).is_dir() else path


def known_names(target: Path) -> set[str]:
    """The names of files that saves in place have put into a directory, or were about to."""
    names: set[str] = set()
    for folder in (target, *(entry for entry in target.iterdir() if INSIDE.fullmatch(entry.name))):
        try:
            names |= read_manifest(folder).keys()
        except SavedModelError:
            continue  # one that was not finished has put nothing anywhere
    return names


def _set_aside(target: Path) -> None:
    """Have a copy of the older files, if there are any, count from now on."""
    if not (target / MANIFEST).exists():
        return  # an older copy counts already, or there never was anything
    copy = _folder_in(target)
    for name in (*read_manifest(target), MANIFEST):
        _link(target / name, copy / name)
    flush_directory(copy)
    copy.rename(target / PREVIOUS)
    flush_directory(target)
    (target / MANIFEST).unlink()
    flush_directory(target)


def _link(source: Path, name: Path) -> None:
    """Give a file a second name; where the file system has no such thing, copy it."""
    try:
        os.link(source, name)
    except OSError:
        shutil.copy2(source, name)


def _folder_in(target: Path) -> Path:
    folder = target / f".unidl-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _remove(target: Path, keep: str | None) -> None:
    """Remove the folders inside that saves have left; what cannot be removed is in nobody's way."""
    for entry in target.iterdir():
        if INSIDE.fullmatch(entry.name) and entry.name != keep:
            shutil.rmtree(entry, ignore_errors=True)
