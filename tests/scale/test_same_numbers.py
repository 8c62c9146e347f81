"""Several processes train to what one trains to. Without this, results would depend on how many devices there are."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run
from trained import Training

PROGRAM = Path(__file__).with_name("trained.py")


def launched(folder: Path, processes: int, *words: str) -> list[dict[str, np.ndarray]]:
    """Train in several processes, and return what each of them found."""
    command = (sys.executable, "-m", "unidl", "launch", "-n", str(processes), str(PROGRAM), str(folder / "of"))
    done = run(*command, *words, OMP_NUM_THREADS="1")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [dict(np.load(folder / f"of-{rank}.npz")) for rank in range(processes)]


def require_same(alone: dict[str, np.ndarray], together: list[dict[str, np.ndarray]]) -> None:
    """Weights, metrics and outputs to 1e-6; all ranks alike to the bit."""
    assert alone.keys() == together[0].keys()
    for name, value in alone.items():
        np.testing.assert_allclose(together[0][name], value, rtol=0, atol=1e-6, err_msg=name)
        for other in together[1:]:
            np.testing.assert_array_equal(other[name], together[0][name], err_msg=name)


def test_two_processes_train_to_the_numbers_of_one_and_each_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    of_one, of_two, copied = tmp_path / "one", tmp_path / "two", tmp_path / "copied"
    # The ranks begin a run of their own, which one process then ends, and end one that one process has begun.
    training = Training("both")
    training.until(1, of_one)
    shutil.copytree(of_one, copied)
    together = launched(tmp_path, 2, "both", "1,2", str(of_two), str(copied))
    alone = training.until(2, of_one)
    require_same(alone, together)
    require_same(alone, [training.until(2, of_two)])


@pytest.mark.scale
def test_several_devices_of_one_process_train_to_the_same_numbers(tmp_path: Path, backend: Any) -> None:
    if not getattr(backend, "shares_in_process", False):
        pytest.skip("this backend computes on one device in each process")
    flags = "--xla_force_host_platform_device_count=2"  # JAX's; another backend would need its own
    done = run(sys.executable, str(PROGRAM), str(tmp_path / "of"), "both", "2", DEVICES="cpus", XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    require_same(Training("both").until(2), [dict(np.load(tmp_path / "of-0.npz"))])


@pytest.mark.scale
@pytest.mark.parametrize("processes", [2, 4])
def test_fifty_steps_keep_the_numbers_of_one_process(tmp_path: Path, processes: int) -> None:
    together = launched(tmp_path, processes, "lstm,cnn", "17")
    require_same(Training("lstm").until(17) | Training("cnn").until(17), together)
