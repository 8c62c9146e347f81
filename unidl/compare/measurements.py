"""The measurements of a worker, in its own process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unidl import devices, precision, registry
from unidl.backend import Batches, kernels_off
from unidl.compare.energy import EnergyMeter, energy_meter
from unidl.compare.flops import training_flops
from unidl.compare.implementations import Conditions, Implementation, make
from unidl.compare.on_disk import model_on_disk
from unidl.compare.workloads import workload
from unidl.errors import TrainingError
from unidl.machine.rate_history import best

FIRST_STEPS = 5
LATENCY_CALLS = 200
LATENCY_WARM_UP_CALLS = 20
PEAK_SIZE = {"cpu": 2048, "gpu": 8192}
"""Rows and columns of the matrices: 17 GFLOP and 1.1 TFLOP per product, enough to reach the full rate of any
machine."""
EPOCH = {"cpu": 1, "gpu": 16}
"""How many times the rows of a workload are in an epoch. With a step of a third of a millisecond, an epoch of the 32
steps that a CPU gets would measure what happens between epochs."""
CHAIN = {"cpu": 1, "gpu": 10}
"""Products that are dispatched before waiting for the device."""


def prepare(command: Mapping[str, Any]) -> tuple[Measurements, dict[str, Any]]:
    """Build model, data and implementation, take the first steps, warm up, and determine the number of epochs per
    round.

    command: the fields of a Cell, `seconds` per round, and `rows` per epoch or None.
    """
    registry.use(command["backend"], source="the comparison")
    backend = registry.current()
    device = devices.resolve(command["device"]).device
    chosen = precision.resolve(command["precision"], device)
    work = workload(command["model"])
    batch_size = command["batch_size"]
    with backend.on(device):
        if command.get("data") is None:
            model = work.build(chosen.name)
            data: Batches = work.data(work.epoch_rows(batch_size, command["rows"] or work.rows * EPOCH[device.kind]))
        else:
            model, data = model_on_disk(command, work, chosen.name)
    conditions = Conditions(backend, work.name, model, data, device, chosen, batch_size)
    # With precomputed features, the cost of a sample depends on the number of epochs.
    flops = training_flops(model) if command["implementation"] != "unidl-features" else None

    ours = command["implementation"].startswith("unidl")
    off = (
        kernels_off(backend, device) if ours else ()
    )  # before timing, since the first check on a machine takes seconds
    started = time.perf_counter()
    implementation = make(command["implementation"], conditions)
    losses = implementation.first_steps([slice(0, batch_size)])
    first_step_seconds = time.perf_counter() - started
    later = [slice(step * batch_size, (step + 1) * batch_size) for step in range(1, FIRST_STEPS)]
    losses += implementation.first_steps(later)
    if not np.isfinite(losses).all():
        raise TrainingError(f"the losses of the first steps are {losses}")

    measurements = Measurements(conditions, implementation)
    first_epoch_seconds, epoch_seconds = measurements.burn_in(command["seconds"])
    return measurements, {
        "device": device.id,
        "device_name": device.name,
        "versions": backend.versions(),
        "rows": conditions.rows,
        "epochs": work.epochs or max(1, round(command["seconds"] / epoch_seconds)),
        "losses": losses,
        "first_step_seconds": first_step_seconds,
        "ready_seconds": first_step_seconds + max(0.0, first_epoch_seconds - epoch_seconds),
        "flops_per_sample": flops,
        "kernels_off": [str(one) for one in off],
    }


class Measurements:
    """The measurements of a prepared implementation."""

    def __init__(self, conditions: Conditions, implementation: Implementation) -> None:
        self._conditions = conditions
        self._implementation = implementation
        self._meter: EnergyMeter | None = energy_meter(conditions.device)

    def burn_in(self, seconds: float) -> tuple[float, float]:
        """Train for about `seconds`, at least two epochs, and return the durations of the first and the fastest
        epoch."""
        first = _timed(lambda: self._implementation.train(1))
        epochs = [_timed(lambda: self._implementation.train(1))]
        while sum(epochs) < seconds:
            epochs.append(_timed(lambda: self._implementation.train(1)))
        return first, min(epochs)

    def round(self, epochs: int) -> dict[str, Any]:
        """Train for this many epochs, and wait for the device."""
        joules_before = self._meter.joules() if self._meter else None
        seconds = _timed(lambda: self._implementation.train(epochs))
        joules = self._meter.joules() - joules_before if self._meter and joules_before is not None else None
        share = self._implementation.waiting_share
        return {
            "rows": epochs * self._conditions.rows,
            "seconds": seconds,
            "joules": joules,
            "waiting_share": share,
        }

    def memory(self) -> dict[str, Any]:
        """Return the peak memory of the framework on the device, and of the process in main memory."""
        use = self._conditions.backend.memory(self._conditions.device)
        return {"framework_peak_bytes": use.peak_bytes, "process_peak_bytes": _process_peak_bytes()}

    def inference(self, seconds: float) -> dict[str, Any]:
        """Measure for about `seconds` the rows per second at the batch size, and quantiles of the latency of one
        row."""
        conditions, predict = self._conditions, self._implementation.predict
        x = conditions.data.x
        predict(x, conditions.batch_size)
        rates: list[float] = []
        ends = time.perf_counter() + seconds
        while len(rates) < 2 or time.perf_counter() < ends:
            rates.append(len(x) / _timed(lambda: predict(x, conditions.batch_size)))
        for row in range(LATENCY_WARM_UP_CALLS):
            predict(x[row % len(x)][np.newaxis], 1)
        calls = [_timed(lambda row=row: predict(x[row % len(x)][np.newaxis], 1)) for row in range(LATENCY_CALLS)]
        p50, p99 = np.quantile(calls, (0.5, 0.99))
        return {
            "inference_samples_per_second": float(np.median(rates)),
            "latency_p50_seconds": float(p50),
            "latency_p99_seconds": float(p99),
        }

    def peak(self, seconds: float) -> dict[str, Any]:
        """Measure for about `seconds` the best rate of a large matrix product in this precision, in FLOP/s; or return
        the best one that `unidl doctor --measure` has ever found for this device, if that is higher."""
        import keras

        conditions = self._conditions
        kind = conditions.device.kind
        size, chain = PEAK_SIZE[kind], CHAIN[kind]
        dtype = keras.DTypePolicy(conditions.precision.dtype_policy).compute_dtype
        with conditions.context():
            values = np.random.default_rng(0).random((size, size), dtype=np.float32)
            matrix = keras.ops.cast(keras.ops.convert_to_tensor(values), dtype)

            def multiply() -> None:
                products: list[Any] = [keras.ops.matmul(matrix, matrix) for _ in range(chain)]
                # One value of the last product: TensorFlow waits by copying to the host, and a device works in order.
                conditions.backend.synchronise([products[-1][0, 0]])

            multiply()
            times: list[float] = []
            ends = time.perf_counter() + seconds
            while len(times) < 3 or time.perf_counter() < ends:
                times.append(_timed(multiply))
        known = best(conditions.device.id, conditions.device.name or None, "matrix product", conditions.precision.name)
        return {"peak_flops_per_second": max(2 * size**3 * chain / min(times), known or 0.0)}


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _process_peak_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
