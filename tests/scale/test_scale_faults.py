"""One process of several fails: all end soon, and say which one it was. Without this the others wait for ever, and a
machine is paid for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from processes import run

PROGRAM = Path(__file__).with_name("failing.py")

pytestmark = pytest.mark.scale


def launched(how: str, folder: Path):
    """Run it in two processes."""
    words = (sys.executable, "-m", "unidl", "launch", "-n", "2", str(PROGRAM), how, str(folder / "checkpoints"))
    return run(*words, OMP_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "rank 1 failed: OSError: no space left on the disk of rank 1"),
        ("kill", "rank 1 ended without a word"),
        ("leave", "rank 1 (has ended|failed)"),
        ("nan", "The loss became (nan|inf)|became NaN or infinite"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_error(how: str, said: str, tmp_path: Path) -> None:
    done = launched(how, tmp_path)
    assert done.returncode not in (0, None), done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert "ended first" in done.stderr


@pytest.mark.parametrize("what", ["data", "model", "settings"])
def test_what_differs_between_ranks_is_an_error_before_training(what: str, tmp_path: Path) -> None:
    done = launched(what, tmp_path)
    assert done.returncode != 0
    assert f"The {what} of rank 1 differs from that of rank 0" in done.stderr
