"""How the processes of a run find each other: rank 0 listens at one address, and the others connect to it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from unidl.errors import RankError
from unidl.ranks.channel import Channel
from unidl.ranks.environment import Member

JOIN_SECONDS = 300.0
"""How long the processes wait for one another at the start: frameworks take long to import on a busy machine."""
AGAIN_SECONDS = 10.0
"""How long a rank tries to connect again if a rank 0 has closed its connection: it may be that of an earlier start."""
HELLO_SECONDS = 10.0
POLL_SECONDS = 0.5


def accept(member: Member, joined: Callable[[int, Channel], None], failed: Callable[[], bool]) -> None:
    """Wait, as rank 0, for all others. joined: called for each that comes. failed: whether one has failed since.

    Raises `RankError` if this process cannot listen, or not all have come in time; returns if one has failed.
    """
    missing, deadline = set(range(1, member.size)), time.monotonic() + JOIN_SECONDS
    with socket.socket(_family(member.host)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((member.host, member.port))
        except OSError as error:
            raise RankError(f"Rank 0 cannot listen at {member.host}:{member.port}: {error}.") from error
        server.listen(member.size)
        server.settimeout(POLL_SECONDS)
        while missing and not failed():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                if time.monotonic() > deadline:
                    who = ", ".join(map(str, sorted(missing)))
                    raise RankError(
                        f"Rank 0 has waited {JOIN_SECONDS:.0f} s for other ranks: {who} did not come."
                    ) from None
                continue
            channel = Channel(connection, HELLO_SECONDS)
            rank = _rank_in(channel.receive(), member.size)
            if rank not in missing:
                channel.send({"refused": f"rank 0 expects ranks 1 to {member.size - 1} of {member.size}, once"})
                channel.close()
                continue
            missing.remove(rank)
            joined(rank, channel)


def connect(member: Member) -> Channel:
    """Return the connection to rank 0, when all ranks have joined.

    Raises `RankError` if rank 0 cannot be reached, belongs to another run, or another rank has failed.
    """
    deadline = time.monotonic() + JOIN_SECONDS
    lost: float | None = None
    while True:
        try:
            connection = socket.create_connection((member.host, member.port), timeout=5)
        except OSError as error:
            if time.monotonic() > (deadline if lost is None else lost):
                raise RankError(f"Rank 0 cannot be reached at {member.host}:{member.port}: {error}.") from error
            time.sleep(0.05)
            continue
        channel = Channel(connection, JOIN_SECONDS)
        channel.send({"rank": member.rank, "size": member.size})
        answer = channel.receive()
        if answer == {"welcome": True}:
            return channel
        channel.close()
        why = "rank 0 has ended" if answer is None else answer
        if isinstance(answer, dict):
            why = answer.get("refused") or answer.get("failed") or answer
        elif lost is None or time.monotonic() < lost:
            lost = lost or time.monotonic() + AGAIN_SECONDS
            time.sleep(POLL_SECONDS)
            continue
        raise RankError(f"Rank {member.rank} of {member.size} cannot join: {why}.")


def _rank_in(hello: Any, size: int) -> int:
    """Return the rank that a first message tells, or -1 if it is not of this run."""
    rank = hello.get("rank") if isinstance(hello, dict) else None
    return rank if type(rank) is int and hello == {"rank": rank, "size": size} else -1


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def free_port(host: str) -> int:
    """Return a port of this machine that is free now."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
