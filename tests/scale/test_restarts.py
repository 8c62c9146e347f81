"""A worker is killed at any moment: the others notice, and the run goes on to the numbers that it would have had.
Without this a training of days is lost to one machine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from restarted import EPOCHS
from trained import Training

PROGRAM = Path(__file__).with_name("restarted.py")
KILLS = 4
"""In one run, half of them soon after a start."""
NOTICED_SECONDS = 15.0
"""After a kill, when the other ranks have ended."""
STARTED_SECONDS = 600.0


def until(condition, seconds: float) -> float:
    """Wait until a condition holds, and return how long that took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not after {seconds:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - started


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def epochs_in(folder: Path) -> int:
    """The epochs that the newest checkpoint holds."""
    names = [path.name for path in folder.glob("epoch-*") if path.name.count("-") == 3 and "." not in path.name]
    return max((int(name.split("-")[1]) for name in names), default=0)


def kill_one(folder: Path, attempt: int, draws: random.Random, *, early: bool) -> tuple[int, float]:
    """Kill a rank of a start at a random moment; return which one, and after how many seconds all others had ended."""
    places = [folder / f"{attempt}-{rank}" for rank in (0, 1)]
    until(lambda: all(place.exists() for place in places), STARTED_SECONDS)
    processes = [int(place.read_text()) for place in places]
    if not early:
        wanted = epochs_in(folder / "checkpoints") + draws.randint(1, 5)
        until(lambda: epochs_in(folder / "checkpoints") >= wanted, STARTED_SECONDS)
    time.sleep(draws.uniform(0.0, 5.0 if early else 0.3))
    victim = draws.randint(0, 1)
    os.kill(processes[victim], signal.SIGKILL)
    return victim, until(lambda: is_gone(processes[1 - victim]), 2 * NOTICED_SECONDS)


@pytest.mark.scale
def test_a_run_goes_on_to_the_same_numbers_whenever_a_rank_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**31)
    draws = random.Random(seed)
    words = [sys.executable, "-m", "unidl", "launch", "-n", "2", "--restarts", str(KILLS), str(PROGRAM), str(tmp_path)]
    with (tmp_path / "said").open("w") as said:
        launcher = subprocess.Popen(words, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        killed = [kill_one(tmp_path, attempt, draws, early=attempt % 2 == 1) for attempt in range(KILLS)]
        assert launcher.wait(STARTED_SECONDS) == 0, f"seed {seed}: {(tmp_path / 'said').read_text()}"
    finally:
        launcher.terminate()
        launcher.wait()
    told = (tmp_path / "said").read_text()
    for victim, seconds in killed:
        assert seconds < NOTICED_SECONDS, (seed, killed)
        assert f"rank {victim} ended first, with signal SIGKILL" in told, (seed, killed, told)
    assert told.count("starting all ranks again") == KILLS
    results = [dict(np.load(tmp_path / f"of-{rank}.npz")) for rank in (0, 1)]
    for name, value in Training("lstm").until(EPOCHS).items():
        np.testing.assert_allclose(results[0][name], value, rtol=0, atol=1e-6, err_msg=f"{name}, seed {seed}")
        np.testing.assert_array_equal(results[1][name], results[0][name], err_msg=f"{name}, seed {seed}")
