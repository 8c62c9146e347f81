"""Saving into the folder one stands in, and paths as people type them. Without this `--out .` fails after the training,
the shell stands in a folder that is gone, or a folder called ~ appears."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from unittest import mock

import pytest
from disk import killed_writing

from unidl.cli import options
from unidl.cli.main import COMMANDS, build_parser
from unidl.errors import SavedModelError, UsageError
from unidl.paths import as_path
from unidl.runs.resuming import checkpoint_folder
from unidl.saving.directories import MANIFEST, read_directory, require_writable, write_directory

OLD = {"weights": b"old weights", "run": b"{}"}
NEW = {"weights": b"new weights, longer", "history": b"1,2"}
HERE = Path(".")


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture
def inside(tmp_path: Path):
    """A folder of its own that the process stands in, empty."""
    folder = tmp_path / "runs" / "cnn"
    folder.mkdir(parents=True)
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize("path", [".", "../cnn", "..//cnn/"])
def test_who_stands_in_a_folder_still_stands_there_after_a_save(inside: Path, path: str):
    path_there = Path(path)
    before = os.stat(".").st_ino
    for files in (OLD, NEW):
        require_writable(path_there)
        write_directory(path_there, files)
        assert read_directory(path_there) == files
        assert names(inside) == {*files, MANIFEST}
    assert os.stat(".").st_ino == before == inside.stat().st_ino
    assert names(inside.parent) == {"cnn"}


def test_who_stands_deeper_down_keeps_the_folder_too(inside: Path):
    (inside / "deeper").mkdir()
    with contextlib.chdir("deeper"), pytest.raises(SavedModelError, match="was not written by unidl"):
        write_directory(inside, NEW)
    assert names(inside) == {"deeper"}


def test_files_of_somebody_else_are_left_alone_here_as_well(inside: Path):
    (inside / "thesis.txt").write_text("years of work")
    for ask in (require_writable, lambda path: write_directory(path, NEW)):
        with pytest.raises(SavedModelError, match="was not written by unidl"):
            ask(HERE)
    write = inside / "thesis.txt"
    write.unlink()
    write_directory(HERE, OLD)
    write.write_text("years of work")
    with pytest.raises(SavedModelError, match=r"contains 'thesis\.txt', which unidl did not write"):
        write_directory(HERE, NEW)
    assert read_directory(HERE) == OLD


CALLS = ("fsync", "rename", "replace", "unlink", "mkdir", "link")


def failing_at(call: str, number: int):
    real, calls = getattr(os, call), 0

    def counted(*words, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*words, **options)

    return mock.patch.object(os, call, counted)


@pytest.mark.parametrize("call", CALLS)
def test_a_save_in_place_that_fails_anywhere_leaves_a_model(tmp_path: Path, call: str):
    failures = 0
    for number in range(1, 12):
        folder = tmp_path / str(number)
        folder.mkdir()
        with contextlib.chdir(folder):
            write_directory(HERE, OLD)
            try:
                with failing_at(call, number):
                    write_directory(HERE, NEW)
            except SavedModelError:
                failures += 1
            assert read_directory(HERE) in (OLD, NEW), number
            write_directory(HERE, NEW)
            assert read_directory(HERE) == NEW
            assert names(folder) == {*NEW, MANIFEST}, number
    assert failures or call == "link", "no call was intercepted, so this test has shown nothing"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("before", [OLD, {}], ids=["over a model", "into an empty folder"])
def test_a_process_that_is_killed_in_place_leaves_the_older_model_or_the_new_one(tmp_path: Path, before):
    """kill -9 runs no `finally`: what counts is the state of the disk between any two calls."""
    paths = [tmp_path / str(number) for number in range(1, 31)]
    for path in paths:
        path.mkdir()
        if before:
            write_directory(path, before)
    codes = killed_writing(paths, ("fsync", "rename", "replace", "unlink", "mkdir", "link"), inside=True)
    assert codes[0] == -9
    assert codes[-1] == 0, "more calls than numbers: raise the number of paths"
    for path in paths:
        try:
            found = read_directory(path)
        except SavedModelError:
            found = {}
        assert found in (before, NEW), path.name
        with contextlib.chdir(path):
            write_directory(HERE, NEW)
        assert read_directory(path) == NEW
        assert names(path) == {*NEW, MANIFEST}, path.name


@pytest.mark.parametrize(("path", "why"), [("/", "was not written by unidl"), ("file", "is a file")])
def test_a_place_that_can_hold_no_run_is_told_before_the_training(inside: Path, path: str, why: str):
    (inside / "file").write_text("something")
    for ask in (require_writable, lambda path: write_directory(path, NEW)):
        with pytest.raises(SavedModelError, match=rf"^Cannot save to .*{why}"):
            ask(Path(path))


def test_a_folder_that_may_not_be_written_is_told_before_the_training(inside: Path):
    with mock.patch.object(os, "mkdir", side_effect=PermissionError(errno.EACCES, os.strerror(errno.EACCES))):
        for path in ("x", "."):
            with pytest.raises(SavedModelError, match="Permission denied"):
                require_writable(Path(path))


def test_the_checkpoints_of_a_run_are_beside_it_however_it_is_called(inside: Path):
    beside = inside.parent / "cnn.checkpoints"
    (inside / "deeper").mkdir()
    for path in (".", "deeper/..", str(inside), "../cnn"):
        assert checkpoint_folder(Path(path)).resolve() == beside
    assert str(checkpoint_folder(Path("runs/cnn/"))) == os.path.join("runs", "cnn.checkpoints")
    with pytest.raises(UsageError, match="Cannot save a run to /"):
        checkpoint_folder(Path("/"))


def test_a_tilde_is_the_home_directory(monkeypatch, tmp_path):
    """A shell replaces it in `--out ~/x`, and leaves it alone in `--out=~/x`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert as_path("~/x") == options.path("~/x") == tmp_path / "x"
    assert options.name_or_path("~/x") == str(tmp_path / "x")
    assert options.name_or_path("~/model.py:build") == f"{tmp_path / 'model.py'}:build"
    assert options.name_or_path("digits") == "digits"
    assert as_path("a/~/b") == Path("a/~/b")
    assert as_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_every_path_of_every_command_has_its_tilde_replaced(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    [commands] = [action for action in build_parser()._actions if hasattr(action, "choices") and action.choices]
    seen = set()
    for command in COMMANDS:
        for action in commands.choices[command]._actions:
            names_a_path = action.metavar in ("DIR", "FOLDER", "FILE", "IMAGE")
            if names_a_path or action.dest in ("data", "base", "weights", "subjects"):
                assert str(action.type("~/x")) == str(tmp_path / "x"), (command, action.dest)
                seen.add(action.dest)
    assert {"out", "resume", "run_directory", "data", "base", "weights", "files", "config"} <= seen
