"""The launchers that people have: torchrun, srun, and TF_CONFIG. Without this each of their processes would train
alone, on all rows, and nothing would say so."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import run
from trained import Training

from unidl.ranks.connecting import free_port

PROGRAM = Path(__file__).with_name("trained.py")

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    return Training("both").until(1)


def by_torchrun(words: list[str]) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torchrun is not installed")
    where = ("--master-addr", "127.0.0.1", "--master-port", str(free_port("127.0.0.1")), "--nproc-per-node", "2")
    done = run(sys.executable, "-m", "torch.distributed.run", *where, *words, OMP_NUM_THREADS="1")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def by_variables(words: list[str], variables: list[dict[str, str]]) -> None:
    """Start a process for each rank, as a launcher that is not here would."""
    started = [
        subprocess.Popen(
            [sys.executable, *words],
            env=os.environ | own | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        for own in variables
    ]
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()


def as_srun(rank: int, port: int) -> dict[str, str]:
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_ID": "7",
        "MASTER_PORT": str(port),
    }


def as_tf_config(rank: int, port: int) -> dict[str, str]:
    cluster = {"worker": [f"127.0.0.1:{port}", f"127.0.0.1:{free_port('127.0.0.1')}"]}
    return {
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}}),
        "INDEX": str(rank),
    }


@pytest.mark.parametrize("launcher", ["torchrun", "srun", "TF_CONFIG"])
def test_ranks_of_other_launchers_train_together(launcher: str, tmp_path: Path, alone: dict[str, np.ndarray]) -> None:
    words = [str(PROGRAM), str(tmp_path / "of"), "both", "1"]
    port = free_port("127.0.0.1")
    if launcher == "torchrun":
        by_torchrun(words)
    elif launcher == "srun":
        by_variables(words, [as_srun(rank, port) for rank in (0, 1)])
    else:
        by_variables(words, [as_tf_config(rank, port) for rank in (0, 1)])
    found = [dict(np.load(tmp_path / f"of-{rank}.npz")) for rank in (0, 1)]
    for name, value in alone.items():
        np.testing.assert_allclose(found[0][name], value, rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found[1][name], found[0][name], err_msg=name)
