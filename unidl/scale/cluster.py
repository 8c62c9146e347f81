"""What each process of a run finds on its machine: devices, versions, its clock, and how fast tensors are summed."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none
import numpy as np

from unidl import registry
from unidl.backend import Batches, Chunk, Distributes, Share
from unidl.devices import Placement, resolve
from unidl.errors import BackendError, UsageError
from unidl.ranks.exchange import Ranks
from unidl.ranks.joining import ranks
from unidl.scale import identity

ops: Any = keras.ops  # whose annotations allow for results that are no tensors

CLOCK_ROUNDS = 10
SUM_ROUNDS = 5
SUM_BYTES = {"cpu": 2**23, "gpu": 2**26}
"""Size of the tensor that is summed: enough that the latency of an exchange counts little."""


@dataclass(frozen=True)
class RankReport:
    """What one rank has found. clock_seconds: how far its clock is ahead of that of rank 0, at most
    `clock_within_seconds` wrong. sum_seconds: for a tensor of `sum_bytes` over all devices; latency_seconds: for one
    number. Both are None if the ranks differ in what would make them wait for each other."""

    rank: int
    host: str
    device: str
    device_name: str | None
    devices: list[str]
    versions: dict[str, str]
    clock_seconds: float = 0.0
    clock_within_seconds: float = 0.0
    sum_bytes: int = 0
    sum_seconds: float | None = None
    latency_seconds: float | None = None

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes of a tensor summed over all devices in a second."""
        return None if self.sum_seconds is None else self.sum_bytes / self.sum_seconds


@dataclass(frozen=True)
class Cluster:
    """What all ranks have found, in their order. differences: sentences about what should be the same."""

    ranks: list[RankReport]
    differences: list[str] = field(default_factory=list[str])


def survey_ranks() -> Cluster:
    """Let each rank look, and return what all have found.

    Raises `UsageError` in a process that runs alone, and `BackendError` if the backend computes on one device only.
    """
    backend, own = registry.current(), ranks()
    if own is None:
        raise UsageError("Only one process runs here. Start several: `unidl launch -n 2 doctor --cluster`.")
    if not isinstance(backend, Distributes):
        raise BackendError(f"Backend '{backend.name}' cannot train on several devices: it has no compile_shared_loop.")
    placement = resolve(None)
    found = [device.id for device in backend.devices().found]
    device = placement.device
    report = RankReport(own.rank, socket.gethostname(), device.id, device.name, found, identity.versions())
    ahead, within = _clock(own)
    values = asdict(report) | {"clock_seconds": ahead, "clock_within_seconds": within}
    reports = [RankReport(**word) for word in own.exchange("the survey", values)]
    different = differences(reports)
    if different:
        return Cluster(reports, different)
    size = SUM_BYTES[device.kind]
    with backend.on(device):
        seconds = [_sum_seconds(backend, placement, count) for count in (1, size // 4)]
    words = own.exchange("the sums", seconds)
    measured = [
        RankReport(**asdict(one) | {"sum_bytes": size, "latency_seconds": word[0], "sum_seconds": word[1]})
        for one, word in zip(reports, words, strict=True)
    ]
    return Cluster(measured)


def _clock(own: Ranks) -> tuple[float, float]:
    """Return how far the clock of this rank is ahead of that of rank 0, and how wrong that may be, in seconds."""
    ahead, within = 0.0, float("inf")
    before = time.time()
    for number in range(CLOCK_ROUNDS + 1):
        # Rank 0 looks at its clock after it has sent the words of the round before, and before it sends those of this.
        started = time.time()
        zero = own.agreed("the clock", time.time())
        after = time.time()
        if number and (after - before) / 2 < within:
            ahead, within = (before + after) / 2 - zero, (after - before) / 2
        before = started
    return (0.0, 0.0) if own.rank == 0 else (ahead, within)


def differences(reports: Sequence[RankReport]) -> list[str]:
    """What differs from rank 0 and must not, in sentences."""
    first, found = reports[0], list[str]()
    for one in reports[1:]:
        for name in sorted(first.versions.keys() | one.versions.keys()):
            here, there = first.versions.get(name, "nothing"), one.versions.get(name, "nothing")
            if here != there:
                found.append(f"{name}: {there} on rank {one.rank}, {here} on rank 0")
        if one.device.partition(":")[0] != first.device.partition(":")[0]:
            found.append(f"device: {one.device} on rank {one.rank}, {first.device} on rank 0")
    return found


class _Sums:
    """Gives the share of a device to the loss that sums with it."""

    share: Share | None = None

    @contextmanager
    def __call__(self, share: Share) -> Generator[None]:
        self.share = share
        try:
            yield
        finally:
            self.share = None


def _sum_seconds(backend: Distributes, placement: Placement, count: int) -> float:
    """Return the least time of a step that does nothing but sum a tensor of so many numbers over all devices."""
    sums = _Sums()

    class Numbers(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.numbers = self.add_weight(shape=(count,), initializer="ones")

        def call(self, inputs: Any) -> Any:
            return inputs

    numbers = Numbers()

    def summed(_: Any, outputs: Any) -> Any:
        if sums.share is None:
            return ops.mean(outputs)
        # A constant or a broadcast number would be summed without an exchange by some compilers.
        return ops.max(sums.share.sum([numbers.numbers + ops.mean(outputs)])[0])

    model = keras.Sequential([keras.Input((1,)), numbers])
    model.compile(loss=summed)
    rows = placement.size * len(placement.devices)
    data = Batches(np.zeros((rows, 1), np.float32), np.zeros((rows, 1), np.float32))
    chunk = Chunk(data, np.arange(rows, dtype=np.int64)[np.newaxis], False)
    loop = backend.compile_shared_loop(model, devices=placement.devices, within=sums, steps=1)
    took: list[float] = []
    for _ in range(SUM_ROUNDS + 2):  # the first ones compile
        started = time.perf_counter()
        loop.test(chunk).read()
        took.append(time.perf_counter() - started)
    return min(took[2:])
