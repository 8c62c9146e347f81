"""Reading of `.keras` files. The source is trusted, but limits on size still apply."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from unidl import devices, registry
from unidl.errors import SavedModelError
from unidl.models.budget import at_most
from unidl.models.initial_weights import drawn_later
from unidl.saving.keras_description import from_keras_description
from unidl.saving.keras_weights import assign_keras_weights, longest_file
from unidl.saving.manifest import LARGEST_FILE
from unidl.saving.plain_files import opened_plain_file
from unidl.saving.strict_json import LONGEST, read_json

if TYPE_CHECKING:
    import keras

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
LARGEST = {METADATA: 2**16, CONFIG: LONGEST, WEIGHTS: LARGEST_FILE}
"""Maximum bytes of each member."""
EXPANSION = 20
"""Largest ratio of unpacked to packed size of a member. Keras does not compress; recompressing an archive gains little
on weights, and at most this on JSON."""
NARROWEST_NUMBER = 2
"""Bytes per weight in bfloat16."""
END = 22
"""Bytes of the record at the end of an archive without a comment: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT,
4.3.16."""
LARGEST_DIRECTORY = 4096
"""Maximum bytes of an archive's list of members."""


def load_archive(path: Path, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    """Return the model of a `.keras` file, not compiled. Raises `SavedModelError` if the file is not in Keras's
    format."""
    try:
        with opened_plain_file(path) as (file, size), _opened(file, size) as archive:
            return _load(archive, path, custom_objects)
    except FileNotFoundError as error:
        raise SavedModelError(f"Cannot load {path}: the file does not exist.") from error
    except (ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise SavedModelError(f"Cannot load {path}: it is not a file written by Keras: {error}.") from error


def _load(archive: zipfile.ZipFile, path: Path, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    """Build the model, limited to the size of the weights in the archive, and then unpack the weights."""
    _refuse_members(archive)
    read_json(_unpacked(archive, METADATA))
    description = read_json(_unpacked(archive, CONFIG))
    if not isinstance(description, dict):
        raise ValueError(f"{CONFIG} is not a JSON object")
    backend, device = registry.current(), devices.resolve().device
    size = archive.getinfo(WEIGHTS).file_size
    with at_most(size // NARROWEST_NUMBER), backend.on(device), drawn_later():
        model = from_keras_description(description, path, custom_objects)
    if not model.built:
        raise SavedModelError(
            f"Cannot load {path}: it does not record the model's input shape. Build the model, and load the "
            "weights from a .weights.h5 file with load_weights."
        )
    if size > longest_file(model):
        raise ValueError(f"{WEIGHTS} has {size:,} bytes, more than the model needs")
    with backend.on(device):
        assign_keras_weights(model, _unpacked(archive, WEIGHTS), path)
    return model


def _opened(file: BinaryIO, size: int) -> zipfile.ZipFile:
    file.seek(max(0, size - END))
    _refuse_end(file.read(END))
    return zipfile.ZipFile(file)


def _refuse_members(archive: zipfile.ZipFile) -> None:
    """Raise `ValueError` unless the members are those that Keras writes, stored one after another."""
    found = archive.infolist()
    if sorted(member.filename for member in found) != sorted(LARGEST):
        names = ", ".join(repr(member.filename[:60]) for member in found)
        hint = ". Vocabularies and lookup tables of layers are not supported" if "assets" in names else ""
        raise ValueError(f"its members are {names} instead of {', '.join(map(repr, LARGEST))}{hint}")
    place = 0
    for member in sorted(found, key=lambda member: member.header_offset):
        if member.header_offset < place or (place == 0 and member.header_offset != 0):
            raise ValueError("members overlap, or there is data before the first one")
        place = member.header_offset + member.compress_size
        _refuse_member(member)


def _refuse_end(end: bytes) -> None:
    """Check the number of members, which an archive states at its end, before the list of members is read."""
    entries, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if len(end) < END or not end.startswith(b"PK\x05\x06") or end[20:22] != b"\0\0":
        raise ValueError("it does not end as a zip archive without a comment does")
    if entries != len(LARGEST) or length > LARGEST_DIRECTORY:
        raise ValueError(f"it has {entries:,} members in a list of {length:,} bytes; Keras writes {len(LARGEST)}")


def _refuse_member(member: zipfile.ZipInfo) -> None:
    name, size, packed = member.filename, member.file_size, member.compress_size
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{name} is not a regular file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} uses compression method {member.compress_type}, which is not supported")
    if size > LARGEST[name]:
        raise ValueError(f"{name} has {size:,} bytes; at most {LARGEST[name]:,} are allowed")
    if size > EXPANSION * packed + 1024:
        raise ValueError(f"{name} would unpack from {packed:,} bytes to {size:,}")


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    with archive.open(name) as file:
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name} unpacks to a different size than stated")
    return content
