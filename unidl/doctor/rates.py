"""`unidl doctor --measure`: the rates that this machine reaches with the selected backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl import devices, precision, registry
from unidl.backend import Backend, Device
from unidl.machine import nvml
from unidl.precision_row import Precision

MATRICES = {"cpu": (128, 256, 512, 1024), "gpu": (1024, 2048, 4096, 8192)}
"""Rows and columns of the matrices, by kind of device; the largest that takes a small part of the time is measured."""
IMAGES = {"cpu": (1, 2, 8), "gpu": (8, 16, 64)}
"""Images of the convolution, likewise."""
ELEMENTS = {"cpu": (2**18, 2**21, 2**24), "gpu": (2**24, 2**26, 2**28)}
"""Elements that are copied, likewise; the largest are several times what a cache holds."""
HOST_ELEMENTS = (2**18, 2**22, 2**26)
"""Elements that are copied to a GPU."""
SIDE, CHANNELS, KERNEL = 56, 64, 3
"""Of the images of the convolution, as in the second stage of ResNet-50."""
LAUNCHES = 50
SMALLEST_REPEATS = 3
SECONDS = 15.0
"""Time for all measurements. With the import of a framework, up to 30 s."""
PART = 1 / 6
"""The most that one repeat may take of the time for a rate."""


@dataclass(frozen=True)
class Rate:
    """One measured rate. what: "matrix product", "convolution", "copy", "read", "host to device" or "launch"; unit:
    "FLOP/s", "byte/s" or "s"; repeats: of which the best is given; spread: of the middle one from the best, as a
    share; size: of what was measured, as in `MATRICES`, `IMAGES` and `ELEMENTS`."""

    what: str
    precision: str
    value: float
    unit: str
    repeats: int
    spread: float
    size: int = 0


@dataclass(frozen=True)
class Rates:
    """All rates of a device with a backend. left_out: what was not measured, with the reason. load: of an NVIDIA GPU
    during the products."""

    backend: str
    device: str
    device_name: str | None
    versions: dict[str, str]
    rates: tuple[Rate, ...]
    left_out: dict[str, str]
    seconds: float
    load: nvml.Load | None = None


@dataclass(frozen=True)
class Trial:
    """Something to measure. make: returns for a size what is computed, and its work in operations or bytes."""

    what: str
    precision: str
    unit: str
    sizes: Sequence[int]
    make: Callable[[int], tuple[Callable[[], Any], float]]


def measure(seconds: float = SECONDS) -> Rates:
    """Measure for about so many seconds, on the default device of the selected backend.

    Raises `BackendError` or `DeviceError` as any command does.
    """
    backend = registry.current()
    device = devices.resolve().device
    started = time.perf_counter()
    rows, left_out = _precisions(device)
    gpu, why_not = nvml.gpu(device.index) if device.kind == "gpu" else (None, None)
    if why_not is not None:
        left_out["power and clocks"] = why_not
    remaining = 2 * len(rows) + (5 if device.kind == "gpu" else 4)
    found: list[Rate] = []

    def each(trials: Iterator[Trial]) -> None:
        nonlocal remaining
        for trial in trials:
            left = started + seconds - time.perf_counter()
            found.append(rate_of(trial, backend, max(0.0, left / remaining)))
            remaining -= 1

    with nullcontext() if gpu is None else nvml.Watch(gpu.state) as watch:
        for row in rows:
            with backend.on(device), backend.precision(row):
                each(_products(device, row))
    with backend.on(device), backend.precision(precision.FLOAT32):
        each(_traffic(device))
    return Rates(
        backend.name,
        device.id,
        device.name or None,
        dict(backend.versions()),
        tuple(found),
        left_out,
        time.perf_counter() - started,
        None if watch is None else watch.load(),
    )


def _precisions(device: Device) -> tuple[list[Precision], dict[str, str]]:
    """Return the precisions whose products differ, and why others are left out."""
    rows: list[Precision] = []
    left_out: dict[str, str] = {}
    for name in ("float32", "tf32", "mixed_bfloat16", "mixed_float16"):
        row = precision.named(name)
        why_not = precision.why_not_on(row, device)
        if why_not is None:
            rows.append(row)
        else:
            left_out[name] = why_not
    return rows, left_out


def _products(device: Device, row: Precision) -> Iterator[Trial]:
    import keras

    ops: Any = keras.ops
    generator = np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        return ops.cast(ops.convert_to_tensor(generator.random(shape, dtype=np.float32)), row.compute_dtype)

    def product(size: int) -> tuple[Callable[[], Any], float]:
        matrix = tensor(size, size)
        return lambda: ops.matmul(matrix, matrix), 2.0 * size**3

    def convolution(images: int) -> tuple[Callable[[], Any], float]:
        inputs, kernel = tensor(images, SIDE, SIDE, CHANNELS), tensor(KERNEL, KERNEL, CHANNELS, CHANNELS)
        flops = 2.0 * images * SIDE**2 * KERNEL**2 * CHANNELS**2
        return lambda: ops.conv(inputs, kernel, padding="same", data_format="channels_last"), flops

    yield Trial("matrix product", row.name, "FLOP/s", MATRICES[device.kind], product)
    yield Trial("convolution", row.name, "FLOP/s", IMAGES[device.kind], convolution)


def _traffic(device: Device) -> Iterator[Trial]:
    import keras

    ops: Any = keras.ops

    def copy(count: int) -> tuple[Callable[[], Any], float]:
        values = ops.ones((count,))
        return lambda: values + 1, 8.0 * count

    def read(count: int) -> tuple[Callable[[], Any], float]:
        values = ops.ones((count,))
        return lambda: ops.max(values), 4.0 * count

    def send(count: int) -> tuple[Callable[[], Any], float]:
        host = np.ones(count, dtype=np.float32)
        return lambda: ops.array(host), 4.0 * count

    def launch(count: int) -> tuple[Callable[[], Any], float]:
        small = ops.ones((8,))

        def launches() -> Any:
            result = small
            for _ in range(count):
                result = result + 1
            return result

        return launches, float(count)

    yield Trial("copy", "float32", "byte/s", ELEMENTS[device.kind], copy)
    yield Trial("read", "float32", "byte/s", ELEMENTS[device.kind], read)
    if device.kind == "gpu":
        yield Trial("host to device", "float32", "byte/s", HOST_ELEMENTS, send)
    yield Trial("launch", "float32", "s", (1, LAUNCHES), launch)


def rate_of(trial: Trial, backend: Backend, seconds: float) -> Rate:
    """Measure the best time of the largest size of a trial that takes a small part of the time."""
    ends = time.perf_counter() + seconds
    call, work, size = _fitting(trial, backend, seconds * PART)
    times: list[float] = []
    while len(times) < SMALLEST_REPEATS or time.perf_counter() < ends:
        times.append(_timed(call, backend))
    best, middle = min(times), sorted(times)[len(times) // 2]
    value = best / work if trial.unit == "s" else work / best
    return Rate(trial.what, trial.precision, value, trial.unit, len(times), middle / best - 1, size)


def _fitting(trial: Trial, backend: Backend, seconds: float) -> tuple[Callable[[], Any], float, int]:
    """Return what to compute, its work and its size: from the smallest size on, until the next one would take longer
    than this. The first call of each size may compile."""
    call, work = trial.make(trial.sizes[0])
    size = trial.sizes[0]
    _timed(call, backend)
    for larger in trial.sizes[1:]:
        took = _timed(call, backend)
        following, more = trial.make(larger)
        if took * more / work > seconds:
            break
        call, work, size = following, more, larger
        _timed(call, backend)
    return call, work, size


def _timed(call: Callable[[], Any], backend: Backend) -> float:
    started = time.perf_counter()
    backend.synchronise([call()])
    return time.perf_counter() - started
