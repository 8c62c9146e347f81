"""This process joins the others of a run: NCCL between GPUs, gloo between CPUs."""

from __future__ import annotations

import ipaddress
import os

import torch
import torch.distributed as dist

from unidl.backend import Group


def join(group: Group) -> None:
    """Join the processes of a group."""
    host, _, port = group.addresses[0].rpartition(":")
    if _is_loopback(host):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens where other machines could reach it
    store = dist.TCPStore(host, int(port), group.size, is_master=group.rank == 0)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
