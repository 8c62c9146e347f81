"""A `.keras` file of somebody who is trusted, but not to the point of filling the disk."""

from __future__ import annotations

import io
import math
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl import devices, registry
from unidl.errors import SavedModelError
from unidl.models.budget import at_most
from unidl.models.initial_weights import drawn_later
from unidl.training.keras_description import from_keras_description
from unidl.training.keras_weights import assign_keras_weights, weights_in
from unidl.training.manifest import LARGEST_FILE
from unidl.training.plain_files import read_plain_file
from unidl.training.strict_json import LONGEST, read_json

if TYPE_CHECKING:
    import keras

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
LARGEST = {METADATA: 2**16, CONFIG: LONGEST, WEIGHTS: LARGEST_FILE}
"""Bytes of each member."""
EXPANSION = 20
"""How much longer than packed a member may be. Keras packs nothing; somebody who packs an archive again gains little on
weights, and up to this on JSON."""
END = 22
"""Bytes of the record at the end of an archive without a comment: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT,
4.3.16."""
LARGEST_DIRECTORY = 4096
"""Bytes that an archive takes to say what its members are."""


def load_archive(path: Path, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    """Return the model of a `.keras` file, not compiled. Raises `SavedModelError` if it is not as Keras writes it."""
    try:
        content = read_plain_file(path, LARGEST_FILE)
    except FileNotFoundError as error:
        raise SavedModelError(f"Cannot load {path}: there is no such file.") from error
    try:
        members = _members(content)
        read_json(members[METADATA], LARGEST[METADATA])
        description = read_json(members[CONFIG])
        if not isinstance(description, dict):
            raise ValueError(f"{CONFIG} is no object")
    except (ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise SavedModelError(f"Cannot load {path}: it is no file that Keras wrote: {error}.") from error
    stored = sum(math.prod(array.shape) for array in weights_in(members[WEIGHTS], path).values())
    backend, device = registry.current(), devices.resolve().device
    with at_most(stored), backend.on(device), drawn_later():
        model = from_keras_description(description, path, custom_objects)
    if not model.built:
        raise SavedModelError(
            f"Cannot load {path}: Keras does not say there what the model's inputs are. Build it, and give it the "
            "weights of a .weights.h5 file by load_weights."
        )
    with backend.on(device):
        assign_keras_weights(model, members[WEIGHTS], path)
    return model


def _members(content: bytes) -> dict[str, bytes]:
    """The members by name. Raises `ValueError` or `zipfile.BadZipFile` before one is unpacked that may not be."""
    _refuse_end(content[-END:])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = archive.infolist()
        if sorted(member.filename for member in found) != sorted(LARGEST):
            names = ", ".join(repr(member.filename[:60]) for member in found)
            hint = ". Words and tables of a layer are not read" if "assets" in names else ""
            raise ValueError(f"its members are {names}, and not {', '.join(map(repr, LARGEST))}{hint}")
        place = 0
        for member in sorted(found, key=lambda member: member.header_offset):
            if member.header_offset < place or (place == 0 and member.header_offset != 0):
                raise ValueError("members lie one on the other, or something is before the first")
            place = member.header_offset + member.compress_size
            _refuse_member(member)
        return {member.filename: _unpacked(archive, member) for member in found}


def _refuse_end(end: bytes) -> None:
    """An archive says at its end how many members it has; a list of millions would be read before it is counted."""
    entries, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if len(end) < END or not end.startswith(b"PK\x05\x06") or end[20:22] != b"\0\0":
        raise ValueError("it does not end as a zip archive without a comment does")
    if entries != len(LARGEST) or length > LARGEST_DIRECTORY:
        raise ValueError(f"it has {entries:,} members in a list of {length:,} bytes, and Keras writes {len(LARGEST)}")


def _refuse_member(member: zipfile.ZipInfo) -> None:
    name, size, packed = member.filename, member.file_size, member.compress_size
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{name} is a link or no file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in the way {member.compress_type}, and Keras packs nothing")
    if size > LARGEST[name] or size > EXPANSION * packed + 1024:
        raise ValueError(f"{name} would unpack from {packed:,} bytes to {size:,}")


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise ValueError(f"{member.filename} unpacks to another size than it says")
    return content
