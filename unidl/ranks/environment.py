"""The place of this process among those of a run, as launchers write it into the environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unidl.errors import UsageError

RESTARTED = "UNIDL_RESTARTED"
"""How many times `unidl launch` has started the run again: where there are checkpoints, it then goes on from them."""

RESTART_COUNTS = (RESTARTED, "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
"""Variables of launchers that count how often they have started the same run again."""

SLURM_PORTS = 20000
"""The first port that is derived from the number of a SLURM job, which sets none."""


@dataclass(frozen=True)
class Member:
    """One process of a run: which one, of how many, and where rank 0 listens.

    Args:
        rank: The number of the process, from 0.
        size: The number of processes.
        local_rank: The number of the process on its machine, from 0, which chooses its GPU.
        host: The address at which rank 0 listens.
        port: The port at which rank 0 listens.
        source: Which variables say so.

    Examples:
        >>> from unidl.ranks.environment import member
        >>> found = member({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})
        >>> found.rank, found.size, found.port
        (1, 2, 29500)
    """

    rank: int
    size: int
    local_rank: int
    host: str
    port: int
    source: str


def member(environ: Mapping[str, str] | None = None) -> Member | None:
    """Return the place of this process in a run of several; None if it runs alone.

    `unidl launch` and torchrun set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; srun sets SLURM_PROCID and others;
    TF_CONFIG lists the workers of a TensorFlow cluster. Launchers that srun has started on each machine set RANK and
    WORLD_SIZE themselves, which then count.

    Raises `UsageError` if variables are missing or contradict each other.
    """
    environ = os.environ if environ is None else environ
    found, config, step = _of_variables(environ), _of_tf_config(environ), _of_slurm(environ)
    step = None if found is not None or step is None or step.size == 1 else step
    said = [one for one in (found, config, step) if one is not None]
    for other in said[1:]:
        if (said[0].rank, said[0].size) != (other.rank, other.size):
            raise UsageError(
                f"Cannot tell which process this is: by {said[0].source} it is rank {said[0].rank} of {said[0].size}, "
                f"by {other.source} rank {other.rank} of {other.size}. Unset the variables of one of them."
            )
    return said[0] if said and said[0].size > 1 else None


def is_restarted(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether a launcher has started the same run before, which is to go on where there are checkpoints."""
    environ = os.environ if environ is None else environ
    return any(_whole(name, environ) > 0 for name in RESTART_COUNTS if environ.get(name))


def _of_variables(environ: Mapping[str, str]) -> Member | None:
    there = [name for name in ("RANK", "WORLD_SIZE") if name in environ]
    if not there or (there == ["WORLD_SIZE"] and environ["WORLD_SIZE"] == "1"):
        return None
    if len(there) == 1:
        missing = "WORLD_SIZE" if there == ["RANK"] else "RANK"
        raise UsageError(
            f"{there[0]}={environ[there[0]]} is set, but not {missing}: cannot tell which process this is. Set both, "
            f"start with `unidl launch`, or unset {there[0]}."
        )
    rank, size = _whole("RANK", environ), _whole("WORLD_SIZE", environ)
    if size > 1 and ("MASTER_ADDR" not in environ or "MASTER_PORT" not in environ):
        raise UsageError(
            f"RANK={rank} and WORLD_SIZE={size} are set, but not MASTER_ADDR and MASTER_PORT, where rank 0 listens. "
            "Set them, start with `unidl launch`, or remove RANK and WORLD_SIZE."
        )
    port = _whole("MASTER_PORT", environ) if "MASTER_PORT" in environ else 0
    # torchrun itself listens at MASTER_PORT.
    port += 1 if "TORCHELASTIC_RUN_ID" in environ else 0
    local = _whole("LOCAL_RANK", environ) if "LOCAL_RANK" in environ else rank
    host = environ.get("MASTER_ADDR", "127.0.0.1")
    return _checked(Member(rank, size, local, host, port, "RANK and WORLD_SIZE"))


def _of_tf_config(environ: Mapping[str, str]) -> Member | None:
    if not environ.get("TF_CONFIG"):
        return None
    try:
        config: Any = json.loads(environ["TF_CONFIG"])
        cluster, task = config.get("cluster", {}), config.get("task", {"type": "worker", "index": 0})
        workers = [*cluster.get("chief", ()), *cluster.get("worker", ())]
        rank = int(task["index"]) + (len(cluster.get("chief", ())) if task["type"] == "worker" else 0)
        kind, places = task["type"], [one.rpartition(":") for one in workers]
        hosts, ports = [host for host, _, _ in places], [int(port) for _, _, port in places]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"Cannot read TF_CONFIG: {error}. It is JSON with 'cluster' and 'task'.") from error
    if not workers:
        return None
    if kind not in ("worker", "chief"):
        raise UsageError(f"Cannot use the task {kind!r} of TF_CONFIG. Allowed: 'worker' and 'chief'.")
    local = hosts[:rank].count(hosts[rank]) if rank < len(hosts) else 0
    return _checked(Member(rank, len(workers), local, hosts[0], ports[0], "TF_CONFIG"))


def _of_slurm(environ: Mapping[str, str]) -> Member | None:
    # Set by srun alone: in the script of a batch job one process sees SLURM_PROCID=0 and SLURM_NTASKS.
    if "SLURM_STEP_NUM_TASKS" not in environ or "SLURM_PROCID" not in environ:
        return None
    rank, size = _whole("SLURM_PROCID", environ), _whole("SLURM_STEP_NUM_TASKS", environ)
    host = environ.get("MASTER_ADDR") or _first_host(environ.get("SLURM_STEP_NODELIST", ""))
    job = _whole("SLURM_JOB_ID", environ) if "SLURM_JOB_ID" in environ else 0
    port = _whole("MASTER_PORT", environ) if "MASTER_PORT" in environ else SLURM_PORTS + job % SLURM_PORTS
    local = _whole("SLURM_LOCALID", environ) if "SLURM_LOCALID" in environ else 0
    return _checked(Member(rank, size, local, host or "127.0.0.1", port, "SLURM_PROCID and SLURM_STEP_NUM_TASKS"))


def _first_host(nodes: str) -> str:
    """Return the first host of SLURM's notation, such as "node01" for "node[01-04,07],other"."""
    match = re.match(r"([^,\[]+)(?:\[(\w+))?", nodes)
    return "" if match is None else match[1] + (match[2] or "")


def _whole(name: str, environ: Mapping[str, str]) -> int:
    try:
        return int(environ[name])
    except ValueError:
        raise UsageError(f"Cannot use {name}={environ[name]!r}: it is not a whole number.") from None


def _checked(found: Member) -> Member:
    if not 0 <= found.rank < found.size:
        raise UsageError(f"Cannot use rank {found.rank} of {found.size} ({found.source}): ranks count from 0.")
    return found
