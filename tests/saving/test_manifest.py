"""What is read is what was written. Without this a disk that errs, or a copy that broke off, becomes a model that is
quietly wrong, and a hand-made file reads what it should not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from unidl.errors import SavedModelError
from unidl.saving.directories import MANIFEST, read_directory, write_directory

OLD = {"weights": b"old weights", "run": b"{}"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory of ours, in a folder of its own."""
    write_directory(tmp_path / "runs" / "cnn", OLD)
    return tmp_path / "runs" / "cnn"


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_a_flipped_bit_anywhere_and_a_missing_end_are_found(saved: Path, name: str):
    content = (saved / name).read_bytes()
    for damaged in (*flipped(content), content[:-1], content + b" ", b""):
        (saved / name).write_bytes(damaged)
        if name == MANIFEST and manifest_says_the_same(damaged, content):
            continue
        with pytest.raises(SavedModelError, match="Cannot load"):
            read_directory(saved)
    (saved / name).write_bytes(content)
    assert read_directory(saved) == OLD


def flipped(content: bytes) -> Iterator[bytes]:
    """The content with one bit flipped, in each byte in turn."""
    for place, byte in enumerate(content):
        yield content[:place] + bytes([byte ^ 1 << place % 8]) + content[place + 1 :]


def manifest_says_the_same(damaged: bytes, content: bytes) -> bool:
    """Changed or added white space is not damage."""
    try:
        return json.loads(damaged) == json.loads(content)
    except ValueError:
        return False


def test_a_missing_file_is_named(saved: Path):
    (saved / "weights").unlink()
    with pytest.raises(SavedModelError, match="weights is missing"):
        read_directory(saved)


def manifest_with(**entries: object) -> bytes:
    return json.dumps({"format": 1, "files": entries}).encode()


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"[]", "damaged"),
        (b'"words"', "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"{}", "damaged"),
        (b'{"format": 1}', "damaged"),
        (b'{"format": 1, "files": []}', "damaged"),
        (b'{"format": 1, "files": {"weights": 5}}', "damaged"),
        (b'{"format": 1, "files": {"weights": {"bytes": 5}}}', "damaged"),
        (b'{"format": 2, "files": {}}', "format 2, and this unidl reads format 1"),
        (manifest_with(**{"../outside": {"bytes": 4, "sha256": "x"}}), "not a plain file name"),
        (manifest_with(**{"/etc/passwd": {"bytes": 4, "sha256": "x"}}), "not a plain file name"),
        (manifest_with(**{"..": {"bytes": 4, "sha256": "x"}}), "not a plain file name"),
        (manifest_with(**{"a\\b": {"bytes": 4, "sha256": "x"}}), "not a plain file name"),
        (manifest_with(**{"a\0b": {"bytes": 4, "sha256": "x"}}), "not a plain file name"),
        (manifest_with(weights={"bytes": 10**9, "sha256": "0" * 64}), "1000000000 bytes expected, 11 found"),
        (manifest_with(weights={"bytes": 11, "sha256": "0" * 64}), "has changed"),
        (manifest_with(weights={"bytes": 10**18, "sha256": "0" * 64}), "cannot have 1000000000000000000 bytes"),
        (manifest_with(weights={"bytes": "11", "sha256": []}), "damaged"),
    ],
)
def test_a_manifest_that_is_not_ours_is_one_error(saved: Path, manifest: bytes, reason: str):
    (saved.parent / "outside").write_bytes(b"mine")
    (saved / MANIFEST).write_bytes(manifest)
    with pytest.raises(SavedModelError, match=reason):
        read_directory(saved)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_does_not_hang(saved: Path):
    (saved / "weights").unlink()
    os.mkfifo(saved / "weights")
    with pytest.raises(SavedModelError, match="weights is not a regular file"):
        read_directory(saved)


def test_a_path_that_is_no_directory_of_ours_says_what_it_is(tmp_path: Path):
    with pytest.raises(SavedModelError, match="the directory does not exist"):
        read_directory(tmp_path / "nothing")
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(SavedModelError, match=r"load_model takes a \.keras file"):
        read_directory(tmp_path / "model.keras")
    with pytest.raises(SavedModelError, match=r"no manifest\.json, so unidl did not write it"):
        read_directory(tmp_path)


def test_files_beside_those_in_the_manifest_are_not_read(saved: Path):
    """Somebody's notes in a run do not stop it from loading."""
    (saved / "notes.txt").write_text("mine")
    assert read_directory(saved) == OLD
    digest = hashlib.sha256(OLD["weights"]).hexdigest()
    assert json.loads((saved / MANIFEST).read_text())["files"]["weights"] == {"bytes": 11, "sha256": digest}
