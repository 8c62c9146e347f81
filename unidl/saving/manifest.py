"""The manifest of a directory: names, sizes and hashes of its files."""

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
"""Maximum bytes of a manifest."""
MOST_FILES = 1000
LARGEST_FILE = 3 * 2**33
"""Maximum bytes of a file: the weights of the largest model of a builder, and twice that for Adam's state."""
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """The entry of one file in the manifest."""

    bytes: int
    sha256: str


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of files, given as a mapping of name to content."""
    entries = {name: asdict(Entry(len(content), _hash(content))) for name, content in files.items()}
    return json.dumps({"format": FORMAT, "files": entries}, indent=2).encode()


def read_manifest(path: Path) -> dict[str, Entry]:
    """Return the entries of the manifest in the directory `path`, by file name; names contain no path.

    Raises `SavedModelError` if there is no manifest, or it is not one of unidl's.
    """
    try:
        content = read_plain_file(path / MANIFEST, LONGEST, within=path)
    except FileNotFoundError as error:
        raise SavedModelError(
            f"Cannot load {path}: it has no {MANIFEST}, so unidl did not write it. Pass the directory that was given "
            f"to "
            "Trainer.save or --out."
        ) from error
    try:
        manifest = read_json(content)
        if not isinstance(manifest, dict) or "format" not in manifest:
            raise ValueError("it is not an object with the key 'format'")
        _require_format(manifest["format"], path)
        if set(manifest) != {"format", "files"} or not isinstance(manifest["files"], dict):
            raise ValueError("its keys must be exactly 'format' and 'files'")
        if len(manifest["files"]) > MOST_FILES:
            raise ValueError(f"it names {len(manifest['files']):,} files; at most {MOST_FILES} are allowed")
        _require_plain_names(manifest["files"], path)
        return {name: _entry(name, entry) for name, entry in manifest["files"].items()}
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"Cannot load {path}: its {MANIFEST} is damaged ({error}).") from error


def read_listed_file(path: Path, name: str, entry: Entry, most: int) -> bytes:
    """Return the content of a file in the directory `path`, checked against size and hash in the manifest.

    Raises `SavedModelError` if it is missing, a link, longer than `most` bytes, or has changed.
    """
    try:
        content = read_plain_file(path / name, most, size=entry.bytes, within=path)
    except FileNotFoundError as error:
        raise _missing(path, name) from error
    if _hash(content) != entry.sha256:
        raise SavedModelError(
            f"Cannot load {path}: {name} has changed since it was saved (same size, different content). Restore it "
            f"from a "
            "copy, or train again."
        )
    return content


def read_listed_start(path: Path, name: str, entry: Entry, length: int) -> bytes:
    """Return up to `length` first bytes of a file in the directory `path`. Only its size is compared with the manifest;
    do not trust the content. Raises `SavedModelError` if it is missing, a link, or has a different size."""
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
            raise SavedModelError(f"Cannot load {path}: its {MANIFEST} names {name!r}, which is not a plain file name.")


def _entry(name: str, entry: Any) -> Entry:
    if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
        raise ValueError(f"the keys of {name!r} must be exactly 'bytes' and 'sha256'")
    size, digest = entry["bytes"], entry["sha256"]
    if type(size) is not int or not 0 <= size <= LARGEST_FILE:
        raise ValueError(f"{name!r} cannot have {str(size)[:30]} bytes; allowed are 0 to {LARGEST_FILE:,}")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise ValueError(f"the sha256 of {name!r} is not a hash")
    return Entry(size, digest)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
