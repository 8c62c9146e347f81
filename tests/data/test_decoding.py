"""Files decoded in processes: the same images as in threads, and no process that is left behind. Without this a run
with processes learns from other data than one without, or a machine fills up with orphans."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from image_folders import damage, image_folder
from processes import run

from unidl import load_data
from unidl.data import decoding
from unidl.data.decoding import DECODERS
from unidl.errors import DataError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images"), count=6)


@pytest.fixture(autouse=True)
def _closed():
    yield
    DECODERS.close()


def read(folder, rows=None, **options):
    images = load_data(folder, stream=True, image_size=(8, 8), **options).train.x
    return images[np.arange(len(images)) if rows is None else rows]


def process_ids():
    return [process.process_id for process in DECODERS._idle]


def is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_the_end(process_ids):
    for _ in range(300):
        if not any(map(is_running, process_ids)):
            return
        time.sleep(0.1)
    pytest.fail("a process is left behind")


def test_order_and_bits_are_those_of_threads_and_processes_serve_again(folder):
    rows = np.array([7, 0, 3, 3, 5])
    expected = read(folder, rows, workers=0)
    np.testing.assert_array_equal(read(folder, rows, workers=2, processes=True), expected)
    before = process_ids()
    assert 1 <= len(before) <= 2
    np.testing.assert_array_equal(read(folder, rows, workers=1, processes=True), expected)
    assert sorted(process_ids()) == sorted(before)


def test_a_damaged_file_is_told_and_skipped_as_in_threads(tmp_path):
    root = image_folder(tmp_path, count=6, formats=("png",))
    bad = damage(root / "dark" / "0002.png")
    with pytest.raises(DataError, match=bad.name):
        read(root, workers=1, processes=True)
    assert len(process_ids()) == 1, "the process is as good as before"
    skipping = {"workers": 1, "on_error": "skip"}
    np.testing.assert_array_equal(read(root, processes=True, **skipping), read(root, **skipping))


def test_a_killed_process_is_one_clear_error_and_the_next_read_starts_another(folder):
    read(folder, [0], workers=1, processes=True)
    (process_id,) = process_ids()
    os.kill(process_id, signal.SIGKILL)
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=r"killed by signal 9, possibly for lack of memory\. Use fewer workers"):
            read(folder, [0], workers=1, processes=True, on_error=on_error)
        assert not process_ids()
        read(folder, [0], workers=1, processes=True)
        os.kill(process_ids()[0], signal.SIGKILL)


def test_processes_that_nobody_asks_end(folder, monkeypatch):
    monkeypatch.setattr(decoding, "IDLE_SECONDS", 0.1)
    read(folder, workers=2, processes=True)
    ids = process_ids()
    wait_for_the_end(ids)
    assert not process_ids()


KILLED = """
import os, signal, sys
from unidl import load_data
from unidl.data.decoding import DECODERS
images = load_data(sys.argv[1], stream=True, image_size=(8, 8), workers=1, processes=True).train.x
images[:3]
print(DECODERS._idle[0].process_id, flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_no_process_outlives_the_one_that_trains(folder, tmp_path, how):
    """The program has no `if __name__ == "__main__"`, which `multiprocessing` would need."""
    import sys

    program = tmp_path / "program.py"
    program.write_text(KILLED)
    done = run(sys.executable, str(program), str(folder), how)
    assert done.returncode != 0
    wait_for_the_end([int(done.stdout)])


def test_what_makes_no_sense_is_refused(folder):
    with pytest.raises(UsageError, match="processes=True with workers=0"):
        read(folder, workers=0, processes=True)
    with pytest.raises(UsageError, match="processes must be True or False, not 2"):
        read(folder, processes=2)
