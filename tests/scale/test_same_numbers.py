"""Several processes train to what one trains to. Without this, results would depend on how many devices there are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run
from trained import trained

PROGRAM = Path(__file__).with_name("trained.py")


def launched(folder: Path, processes: int, epochs: int) -> list[dict[str, np.ndarray]]:
    """Train in several processes, and return what each of them found."""
    words = (sys.executable, "-m", "unidl", "launch", "-n", str(processes), str(PROGRAM), str(folder / "of"))
    done = run(*words, str(epochs), OMP_NUM_THREADS="1")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [dict(np.load(folder / f"of-{rank}.npz")) for rank in range(processes)]


def require_same(alone: dict[str, np.ndarray], together: list[dict[str, np.ndarray]]) -> None:
    """Weights, metrics and outputs to 1e-6; all ranks alike to the bit."""
    for name, value in alone.items():
        np.testing.assert_allclose(together[0][name], value, rtol=0, atol=1e-6, err_msg=name)
        for other in together[1:]:
            np.testing.assert_array_equal(other[name], together[0][name], err_msg=name)


def test_two_processes_train_to_the_weights_and_metrics_of_one(tmp_path: Path) -> None:
    together = launched(tmp_path, 2, epochs=2)
    require_same(trained("lstm", 2) | trained("cnn", 2), together)


@pytest.mark.scale
def test_several_devices_of_one_process_train_to_the_same_numbers(tmp_path: Path, backend: Any) -> None:
    if not getattr(backend, "shares_in_process", False):
        pytest.skip("this backend computes on one device in each process")
    flags = "--xla_force_host_platform_device_count=2"  # JAX's; another backend would need its own
    done = run(sys.executable, str(PROGRAM), str(tmp_path / "of"), "2", DEVICES="cpus", XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    require_same(trained("lstm", 2) | trained("cnn", 2), [dict(np.load(tmp_path / "of-0.npz"))])


@pytest.mark.scale
@pytest.mark.parametrize("processes", [2, 4])
def test_fifty_steps_keep_the_numbers_of_one_process(tmp_path: Path, processes: int) -> None:
    together = launched(tmp_path, processes, epochs=17)
    require_same(trained("lstm", 17) | trained("cnn", 17), together)
