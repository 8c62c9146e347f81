"""The manifest of a directory: which files it has, how long they are, and their hashes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidl.errors import SavedModelError
from unidl.saving.plain_files import read_plain_file, read_plain_start
from unidl.saving.strict_json import read_json

MANIFEST = "manifest.json"
FORMAT = 1
LONGEST = 2**20
"""Bytes of a manifest."""
MOST_FILES = 1000
LARGEST_FILE = 3 * 2**33
"""Bytes: the weights of the largest model that a builder makes, twice more for what Adam remembers of it."""
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one file."""

    bytes: int
    sha256: str


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of files, name to content."""
    entries = {name: asdict(Entry(len(content), _hash(content))) for name, content in files.items()}
    return json.dumps({"format": FORMAT, "files": entries}, indent=2).encode()


def read_manifest(path: Path) -> dict[str, Entry]:
    """Return what the manifest of the directory `path` says of its files, each of which has a plain name.

    Raises `SavedModelError` if there is no manifest, or it is not one of ours.
    """
    try:
        content = read_plain_file(path / MANIFEST, LONGEST, within=path)
    except FileNotFoundError as error:
        raise SavedModelError(
            f"Cannot load {path}: it has no {MANIFEST}, so unidl did not write it. Name the directory given to "
            "Trainer.save or --out."
        ) from error
    try:
        manifest = read_json(content)
        if not isinstance(manifest, dict) or "format" not in manifest:
            raise ValueError("it is no object with a format")
        _require_format(manifest["format"], path)
        if set(manifest) != {"format", "files"} or not isinstance(manifest["files"], dict):
            raise ValueError("it has not exactly a format and files")
        if len(manifest["files"]) > MOST_FILES:
            raise ValueError(f"it names {len(manifest['files']):,} files, and {MOST_FILES} are possible")
        _require_plain_names(manifest["files"], path)
        return {name: _entry(name, entry) for name, entry in manifest["files"].items()}
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"Cannot load {path}: its {MANIFEST} is damaged ({error}).") from error


def read_listed_file(path: Path, name: str, entry: Entry, most: int) -> bytes:
    """Return a file of the directory `path`, of the size and with the hash in the manifest.

    Raises `SavedModelError` if it is missing, a link, longer than `most` bytes, or has changed.
    """
    try:
        content = read_plain_file(path / name, most, size=entry.bytes, within=path)
    except FileNotFoundError as error:
        raise _missing(path, name) from error
    if _hash(content) != entry.sha256:
        raise SavedModelError(
            f"Cannot load {path}: {name} has changed since it was saved (same size, other content). Restore it from a "
            "copy, or train again."
        )
    return content


def read_listed_start(path: Path, name: str, entry: Entry, length: int) -> bytes:
    """Return the first bytes of a file of the directory `path`, at most `length`. Only its size is compared with the
    manifest: what they say may be anything. Raises `SavedModelError` if it is missing, a link, or of another size."""
    try:
        return read_plain_start(path / name, length, size=entry.bytes, within=path)
    except FileNotFoundError as error:
        raise _missing(path, name) from error


def _missing(path: Path, name: str) -> SavedModelError:
    return SavedModelError(f"Cannot load {path}: {name} is missing. Restore it from a copy, or train again.")


def _require_format(found: Any, path: Path) -> None:
    if type(found) is not int or found != FORMAT:
        raise SavedModelError(f"Cannot load {path}: it has format {found!r}, and this unidl reads format {FORMAT}.")


def _require_plain_names(names: Mapping[str, Any], path: Path) -> None:
    for name in names:
        if name in ("", ".", "..", MANIFEST) or any(sign in name for sign in "/\\:\0"):
            raise SavedModelError(f"Cannot load {path}: its {MANIFEST} names {name!r}, which is no plain file name.")


def _entry(name: str, entry: Any) -> Entry:
    if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
        raise ValueError(f"{name!r} has not exactly bytes and sha256")
    size, digest = entry["bytes"], entry["sha256"]
    if type(size) is not int or not 0 <= size <= LARGEST_FILE:
        raise ValueError(f"{name!r} cannot have {str(size)[:30]} bytes; 0 to {LARGEST_FILE:,} are possible")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise ValueError(f"{name!r} has a sha256 that is none")
    return Entry(size, digest)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
