"""This process joins the others of a run, before JAX computes anything."""

from __future__ import annotations

import os
from typing import Any

import jax

from unidl.backend import Group

PREEMPTION = "jax_enable_preemption_service"
"""The setting by which JAX takes SIGTERM, which ends this process otherwise, or saves a run."""


def join(group: Group) -> None:
    """Join the processes of a group. Each takes the GPU of its number on its machine, or the only one it may see."""
    settings: Any = jax.config
    settings.update("jax_cpu_collectives_implementation", "gloo")
    if hasattr(settings, PREEMPTION):  # not in every version
        settings.update(PREEMPTION, False)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    jax.distributed.initialize(
        group.addresses[0],
        group.size,
        group.rank,
        local_device_ids=None if len(visible) == 1 and visible[0] else [group.local_rank],
        cluster_detection_method="deactivate",
        coordinator_bind_address=group.addresses[0],  # by default it listens at every address of the machine
    )
