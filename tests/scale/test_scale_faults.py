"""One process of several fails: all end soon, and say which one it was. Without this the others wait for ever, and a
machine is paid for."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from processes import run

PROGRAM = Path(__file__).with_name("failing.py")
NOTICED_SECONDS = 15.0
"""After a failure, when all ranks have ended."""

pytestmark = pytest.mark.scale


def launched(*words: str):
    """Run it in two processes."""
    return run(sys.executable, "-m", "unidl", "launch", "-n", "2", str(PROGRAM), *words, OMP_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("how", "victim", "said"),
    [
        ("raise", "1", "rank 1 failed: OSError: no space left on the disk of this rank"),
        ("memory", "1", "rank 1 failed: Out of memory at batch_size=16"),
        ("kill", "1", "rank 1 ended without a word"),
        ("kill", "0", "rank 0 ended without a word"),
        ("leave", "1", "rank 1 (has ended|failed)"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_error(how: str, victim: str, said: str, tmp_path: Path) -> None:
    done = launched(how, victim, str(tmp_path))
    took = time.time() - float((tmp_path / "failed").read_text())
    assert done.returncode not in (0, None), done.stderr
    # By the other rank, too.
    assert re.search(rf"\[{1 - int(victim)}\] .*{said}", done.stderr), done.stderr
    if how != "leave":  # with exit code 0, which is no failure by itself
        assert f"rank {victim} ended first" in done.stderr, done.stderr
    assert took < NOTICED_SECONDS


def test_a_loss_that_is_no_number_ends_all(tmp_path: Path) -> None:
    done = launched("nan", "1", str(tmp_path))
    assert done.returncode not in (0, None), done.stderr
    assert re.search("The loss became (nan|inf)|became NaN or infinite", done.stderr), done.stderr


def test_a_signal_to_one_rank_saves_the_run_and_ends_all(tmp_path: Path) -> None:
    done = launched("terminate", "1", str(tmp_path))
    assert done.returncode == 0, done.stderr
    said = re.findall(r"\[[01]\] ended with signal 15 after (\d+) epochs", done.stdout)
    assert len(said) == 2, done.stdout
    saved = [int(path.name.split("-")[1]) for path in (tmp_path / "checkpoints").iterdir()]
    assert {str(max(saved))} == set(said)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("data", "x of the training data, sha256 is"),
        ("model", "compile, optimizer, class is"),
        ("settings", "batch_size is 15 there, and 16 on rank 0"),
    ],
)
def test_what_differs_between_ranks_is_an_error_before_training(what: str, said: str) -> None:
    done = launched(what)
    assert done.returncode != 0
    assert f"The {what} of rank 1 differs from that of rank 0: " in done.stderr, done.stderr
    assert said in done.stderr, done.stderr
