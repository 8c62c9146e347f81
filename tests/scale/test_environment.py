"""Which process of a run this is, from what launchers set. A wrong answer trains on the wrong rows, or never."""

from __future__ import annotations

import json

import pytest

from unidl.errors import UsageError
from unidl.ranks.environment import is_restarted, member

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
STEP = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "gpu[07-09],other",
    "SLURM_JOB_ID": "41",
}
CLUSTER = {"worker": ["a:4000", "a:4001", "b:4000"]}


def test_a_process_without_any_variables_runs_alone() -> None:
    assert member({}) is None
    assert member({"RANK": "0", "WORLD_SIZE": "1"}) is None


def test_the_variables_of_unidl_launch_are_read() -> None:
    found = member(TORCHRUN)
    assert found is not None
    assert (found.rank, found.size, found.local_rank, found.host, found.port) == (3, 4, 1, "node1", 29500)


def test_beside_torchrun_which_listens_itself_the_next_port_is_used() -> None:
    found = member(TORCHRUN | {"TORCHELASTIC_RUN_ID": "none"})
    assert found is not None
    assert found.port == 29501


def test_a_step_of_slurm_is_recognised() -> None:
    found = member(STEP)
    assert found is not None
    assert (found.rank, found.size, found.local_rank, found.host, found.port) == (2, 4, 0, "gpu07", 20041)


def test_the_script_of_a_slurm_job_that_starts_no_step_runs_alone() -> None:
    assert member({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "41"}) is None


def test_a_worker_of_tf_config_is_recognised() -> None:
    found = member({"TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}})})
    assert found is not None
    assert (found.rank, found.size, found.local_rank, found.host, found.port) == (1, 3, 1, "a", 4000)


def test_launchers_that_contradict_each_other_are_an_error() -> None:
    config = json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}})
    with pytest.raises(UsageError, match="rank 3 of 4, by TF_CONFIG rank 1 of 3"):
        member(TORCHRUN | {"TF_CONFIG": config})
    with pytest.raises(UsageError, match=r"by TF_CONFIG it is rank 1 of 3, by SLURM_PROCID .* rank 2 of 4"):
        member(STEP | {"TF_CONFIG": config})


def test_a_launcher_that_srun_has_started_on_each_machine_says_which_process_this_is() -> None:
    found = member(STEP | TORCHRUN)
    assert found is not None
    assert (found.rank, found.size) == (3, 4)


@pytest.mark.parametrize("name", ["UNIDL_RESTARTED", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_a_run_that_a_launcher_has_started_again_is_recognised(name: str) -> None:
    assert not is_restarted({})
    assert not is_restarted({name: "0"})
    assert is_restarted({name: "2"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RANK": "4"}, "rank 4 of 4"),
        ({"RANK": "one"}, "RANK='one'"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR"),
        ({"WORLD_SIZE": None}, "RANK=3 is set, but not WORLD_SIZE"),
        ({"RANK": None}, "WORLD_SIZE=4 is set, but not RANK"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG"),
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": ["a"]}})}, "TF_CONFIG"),
    ],
)
def test_variables_that_cannot_be_used_are_an_error(change: dict[str, str | None], said: str) -> None:
    environ = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    with pytest.raises(UsageError, match=said):
        member(environ)
