"""`unidl doctor --measure`: the rates that this machine reaches with the selected backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidl import devices, precision, registry
from unidl.backend import Backend, Device
from unidl.precision_row import Precision

SIZES = {"cpu": (1024, 8, 2**24), "gpu": (8192, 64, 2**28)}
"""By kind of device: rows and columns of the matrices; images of the convolution; elements that are copied, several
times what a cache holds."""
SIDE, CHANNELS, KERNEL = 56, 64, 3
"""Of the images of the convolution, as in the second stage of ResNet-50."""
LAUNCHES = 50
SMALLEST_REPEATS = 3


@dataclass(frozen=True)
class Rate:
    """One measured rate. what: "matrix product", "convolution", "copy", "read", "host to device" or "launch"; unit:
    "FLOP/s", "byte/s" or "s"; repeats: of which the best is given; spread: of the middle one from the best, as a
    share."""

    what: str
    precision: str
    value: float
    unit: str
    repeats: int
    spread: float


@dataclass(frozen=True)
class Rates:
    """All rates of a device with a backend. left_out: precisions that were not measured, with the reason."""

    backend: str
    device: str
    device_name: str | None
    versions: dict[str, str]
    rates: tuple[Rate, ...]
    left_out: dict[str, str]
    seconds: float


def measure(seconds: float = 20.0) -> Rates:
    """Measure for about so many seconds, on the default device of the selected backend.

    Raises `BackendError` or `DeviceError` as any command does.
    """
    backend = registry.current()
    device = devices.resolve().device
    started = time.perf_counter()
    rows, left_out = _precisions(device)
    share = seconds / (2 * len(rows) + 4)
    found: list[Rate] = []
    for row in rows:
        with backend.on(device), backend.precision(row):
            found += _products(backend, device, row, share)
    with backend.on(device), backend.precision(precision.FLOAT32):
        found += _traffic(backend, device, share)
    name = device.name or None
    return Rates(
        backend.name,
        device.id,
        name,
        dict(backend.versions()),
        tuple(found),
        left_out,
        time.perf_counter() - started,
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


def _products(backend: Backend, device: Device, row: Precision, seconds: float) -> Iterator[Rate]:
    import keras

    ops: Any = keras.ops
    size, images, _ = SIZES[device.kind]
    generator = np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        return ops.cast(ops.convert_to_tensor(generator.random(shape, dtype=np.float32)), row.compute_dtype)

    matrix = tensor(size, size)
    yield _rate(
        "matrix product", row.name, 2.0 * size**3, "FLOP/s", backend, lambda: ops.matmul(matrix, matrix), seconds
    )
    inputs, kernel = tensor(images, SIDE, SIDE, CHANNELS), tensor(KERNEL, KERNEL, CHANNELS, CHANNELS)
    flops = 2.0 * images * SIDE**2 * KERNEL**2 * CHANNELS**2

    def convolution() -> Any:
        return ops.conv(inputs, kernel, padding="same", data_format="channels_last")

    yield _rate("convolution", row.name, flops, "FLOP/s", backend, convolution, seconds)


def _traffic(backend: Backend, device: Device, seconds: float) -> Iterator[Rate]:
    import keras

    ops: Any = keras.ops
    count = SIZES[device.kind][2]
    host = np.ones(count, dtype=np.float32)
    values = ops.convert_to_tensor(host)
    yield _rate("copy", "float32", 8.0 * count, "byte/s", backend, lambda: values + 1, seconds)
    yield _rate("read", "float32", 4.0 * count, "byte/s", backend, lambda: ops.max(values), seconds)
    if device.kind == "gpu":
        yield _rate("host to device", "float32", 4.0 * count, "byte/s", backend, lambda: ops.array(host), seconds)
    small = ops.ones((8,))

    def launches() -> Any:
        result = small
        for _ in range(LAUNCHES):
            result = result + 1
        return result

    yield _rate("launch", "float32", LAUNCHES, "s", backend, launches, min(seconds, 1.0))


def _rate(
    what: str, name: str, work: float, unit: str, backend: Backend, call: Callable[[], Any], seconds: float
) -> Rate:
    """Measure the best time of a call, after one that may compile."""
    backend.synchronise([call()])
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < SMALLEST_REPEATS or time.perf_counter() < ends:
        started = time.perf_counter()
        backend.synchronise([call()])
        times.append(time.perf_counter() - started)
    best, middle = min(times), sorted(times)[len(times) // 2]
    value = best / work if unit == "s" else work / best
    return Rate(what, name, value, unit, len(times), middle / best - 1)
