"""Files that are replaced. Without this a process that is killed leaves half a report, or no model at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from disk import DeathError, Disk
from imports import ROOT

from unidl.whole_files import replacing


def write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)


def test_a_file_is_the_old_one_or_the_new_one_whenever_the_process_dies(tmp_path: Path):
    path = tmp_path / "report"
    path.write_bytes(b"old")
    found: list[bytes] = []
    for moment in range(100):
        disk = Disk(dies_at=moment)
        try:
            with disk.in_use():
                write(path, b"the new one")
        except DeathError:
            found.append(path.read_bytes())
        else:
            break
    assert found[0] == b"old"
    assert set(found) <= {b"old", b"the new one"}
    assert path.read_bytes() == b"the new one"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "report"
    path.write_bytes(b"old")
    with Disk(full_at=1).in_use(), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(path, b"the new one")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("report", b"old")]


def test_the_folder_is_made_and_the_name_ends_alike(tmp_path: Path):
    with replacing(tmp_path / "a" / "model.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_bytes(b"new")
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["model.weights.h5"]


def test_there_is_one_way_to_replace_a_file():
    """A second one would be tested less, and one without a flush loses the file when the power fails."""
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "unidl").rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("fsync", "mkstemp", "NamedTemporaryFile"))
    ]
    assert found == ["unidl/whole_files.py"]
