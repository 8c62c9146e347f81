"""This process joins the others of its run, before its framework computes anything."""

from __future__ import annotations

from unidl.backend import Adapter, Group
from unidl.errors import BackendError
from unidl.notices import notice
from unidl.ranks.connecting import free_port
from unidl.ranks.environment import Member, member
from unidl.ranks.exchange import Ranks

_joined: list[Ranks] = []


def ranks() -> Ranks | None:
    """Return the processes of this run; None if this process runs alone."""
    return _joined[0] if _joined else None


def is_first() -> bool:
    """Return whether this process writes and prints what a run has to say: rank 0, or one that runs alone."""
    return not _joined or _joined[0].rank == 0


def join(adapter: Adapter) -> None:
    """Join the other processes of the run, if the environment says that there are some.

    Raises `RankError` if they do not come, and `BackendError` if the adapter computes in one process only.
    """
    found = member()
    if found is None or _joined:
        return
    if adapter.join is None:
        raise BackendError(
            f"Cannot use backend '{adapter.name}' in {found.size} processes ({found.source}): its adapter has no join, "
            "so that it computes in one process only."
        )
    own = Ranks(found)
    own.start()
    _joined.append(own)
    adapter.join(_group(own, found, adapter))
    notice(f"rank {own.rank} of {own.size} ({found.source})")


def _group(own: Ranks, found: Member, adapter: Adapter) -> Group:
    host = own.own_host
    addresses = own.exchange("joining", [adapter.name, f"{host}:{free_port(host)}"])
    names = {name for name, _ in addresses}
    if len(names) > 1:
        raise BackendError(
            f"The ranks use different backends: {', '.join(name for name, _ in addresses)}. Set UNIDL_BACKEND equally."
        )
    return Group(found.rank, found.size, found.local_rank, tuple(address for _, address in addresses))
