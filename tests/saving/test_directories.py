"""Directories appear whole or not at all. Without this a full disk, a Ctrl-C or a power cut destroys the model that was
there before, and a mistyped --out deletes somebody's files."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from disk import killed_writing

from unidl.errors import SavedModelError
from unidl.saving.directories import MANIFEST, location, read_directory, require_writable, write_directory

OLD = {"weights": b"old weights", "run": b"{}"}
NEW = {"weights": b"new weights, longer", "history": b"1,2"}


def save_failing(call: str, number: int, failing: Callable[[], None], path: Path) -> int:
    """Save NEW; the call number `number` of `os.<call>` fails. Returns how many such calls there were."""
    real = getattr(os, call)
    calls = 0

    def counted(*words, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            failing()
        return real(*words, **options)

    with mock.patch.object(os, call, counted):
        write_directory(path, NEW)
    return calls


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def control_c() -> None:
    raise KeyboardInterrupt


def assert_only(path: Path) -> None:
    """Nothing temporary is left beside `path`."""
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory of ours, in a folder of its own."""
    write_directory(tmp_path / "runs" / "cnn", OLD)
    return tmp_path / "runs" / "cnn"


def test_what_is_written_is_read_back_and_replaced_as_a_whole(saved: Path):
    assert read_directory(saved) == OLD
    write_directory(saved, NEW)
    assert read_directory(saved) == NEW
    assert {entry.name for entry in saved.iterdir()} == {*NEW, MANIFEST}
    assert_only(saved)


@pytest.mark.parametrize("failing", [no_space, control_c], ids=["disk full", "Ctrl-C"])
@pytest.mark.parametrize("call", ["fsync", "mkdir", "rename"])
def test_a_save_that_fails_anywhere_leaves_a_model_and_nothing_else(tmp_path: Path, call: str, failing):
    write_directory(tmp_path / "counted" / "cnn", OLD)
    count = save_failing(call, -1, failing, tmp_path / "counted" / "cnn")
    errors: list[BaseException] = []
    for number in range(1, count + 1):
        path = tmp_path / str(number) / "cnn"
        write_directory(path, OLD)
        try:
            save_failing(call, number, failing, path)
        except (SavedModelError, KeyboardInterrupt) as error:
            errors.append(error)
        assert read_directory(path) in (OLD, NEW), f"{call} number {number}"
        assert_only(path)
        write_directory(path, NEW)
        assert read_directory(path) == NEW
    assert errors, "no call was intercepted, so this test has shown nothing"
    assert {type(error) for error in errors} == {SavedModelError if failing is no_space else KeyboardInterrupt}


def test_a_full_disk_is_named_and_the_older_model_survives(saved: Path):
    with pytest.raises(SavedModelError, match=r"Cannot save to .*cnn: No space left on device\."):
        save_failing("fsync", 1, no_space, saved)
    assert read_directory(saved) == OLD
    assert_only(saved)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of the size of files")
def test_a_file_that_breaks_off_while_it_is_written_costs_nothing(saved: Path):
    """The system itself stops the write here, after some of it."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(SavedModelError, match="File too large"):
            write_directory(saved, {"weights": bytes(2000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_directory(saved) == OLD
    assert_only(saved)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_is_killed_leaves_the_older_model_or_the_new_one(tmp_path: Path):
    """kill -9 and a power cut run no `finally`: what counts is the state of the disk between any two calls."""
    paths = [tmp_path / str(number) / "cnn" for number in range(1, 15)]
    for path in paths:
        write_directory(path, OLD)
    codes = killed_writing(paths, ("fsync", "rename", "mkdir"))
    found = [read_directory(path) for path in paths]
    killed = codes.index(0)
    assert killed > 6
    assert codes == [-signal.SIGKILL] * killed + [0] * (len(paths) - killed)
    assert all(files in (OLD, NEW) for files in found)
    assert found[0] == OLD
    assert found[killed:] == [NEW] * (len(paths) - killed)
    for path in paths:
        write_directory(path, NEW)
        assert read_directory(path) == NEW


def test_a_save_killed_between_two_renames_is_found_and_finished_by_the_next(saved: Path):
    aside = saved.parent / f".{saved.name}.unidl-previous"
    saved.rename(aside)
    assert location(saved) == aside
    assert read_directory(saved) == OLD
    write_directory(saved, NEW)
    assert read_directory(saved) == NEW
    assert_only(saved)


def test_what_a_killed_save_left_behind_does_not_stop_the_next(saved: Path):
    shutil.copytree(saved, saved.parent / f".{saved.name}.unidl-previous")
    write_directory(saved, NEW)
    assert read_directory(saved) == NEW
    assert_only(saved)


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("mine")


def a_web_application(path: Path) -> None:
    path.mkdir()
    (path / MANIFEST).write_text('{"name": "app", "icons": []}')
    (path / "index.html").write_text("mine")


def a_run_with_notes(path: Path) -> None:
    write_directory(path, OLD)
    (path / "notes.txt").write_text("mine")


def a_damaged_run(path: Path) -> None:
    write_directory(path, OLD)
    (path / MANIFEST).write_text("{")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_file, "there is a file"),
        (a_folder, "was not written by unidl"),
        (a_web_application, "damaged or was not written by unidl"),
        (a_run_with_notes, "it contains 'notes.txt', which unidl did not write"),
        (a_damaged_run, "damaged or was not written by unidl"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: Path, make, reason: str):
    """`--out ~/thesis` must not cost a thesis."""
    path = tmp_path / "there"
    make(path)

    def content() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    before = content()
    for save in (lambda: write_directory(path, NEW), lambda: require_writable(path)):
        with pytest.raises(SavedModelError, match=reason):
            save()
    assert content() == before


def test_an_empty_directory_may_be_filled_and_what_a_file_manager_leaves_is_nobodys(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    write_directory(tmp_path / "runs", OLD)
    (tmp_path / "runs" / ".DS_Store").write_bytes(b"\0")
    write_directory(tmp_path / "runs", NEW)
    assert read_directory(tmp_path / "runs") == NEW


def test_a_link_to_a_directory_stays_a_link(saved: Path):
    link = saved.parent / "latest"
    link.symlink_to(saved)
    write_directory(link, NEW)
    assert link.is_symlink()
    assert read_directory(link) == read_directory(saved) == NEW


def test_a_place_that_cannot_be_written_is_known_beforehand(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    for act in (lambda path: write_directory(path, NEW), require_writable):
        with pytest.raises(SavedModelError, match="file is a file"):
            act(tmp_path / "file" / "runs")
    require_writable(tmp_path / "new" / "runs")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"], "asking has made something"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_error(tmp_path: Path):
    tmp_path.chmod(0o500)
    for act in (lambda path: write_directory(path, NEW), require_writable):
        with pytest.raises(SavedModelError, match="Permission denied"):
            act(tmp_path / "runs")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_run_can_be_read_by_whom_any_new_directory_can(tmp_path: Path, mask: int):
    """`tempfile.mkdtemp` would shut out the colleagues who share the folder."""
    before = os.umask(mask)
    try:
        (tmp_path / "plain").mkdir()
        write_directory(tmp_path / "runs", OLD)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
