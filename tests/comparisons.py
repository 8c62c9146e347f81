"""Made-up comparisons, for the tests of what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unidl.compare.cells import Cell
from unidl.compare.results import Measurement, Round, Run

STEADY = (1.0, 1.01, 0.99, 1.005, 0.995, 1.002, 0.998)
"""Noise of 1% that differs from round to round."""
LOSSES = (2.3, 2.29, 2.28)

ENVIRONMENT = {
    "python": "3.12.1",
    "processor": {"model": "Some CPU", "architecture": "x86_64", "usable_cores": 8},
    "gpus": [],
    "load_average": 0.1,
    "versions": {"keras": "3.15"},
    "frameworks": {"jax": "0.6"},
}


def cell(title: str, model: str = "cnn", **changes: object) -> Cell:
    """A cell by its title, as in "jax unidl"."""
    backend, implementation = title.split()
    return replace(Cell(backend, model, "cpu", "float32", 128, implementation), **changes)


def measured(one: Cell, rates: Sequence[float], **changes: object) -> Measurement:
    """A cell that was measured. rates: samples a second, by round."""
    rounds = tuple(Round(1000, 1000 / rate) for rate in rates)
    found = Measurement(
        one,
        rounds=rounds,
        device="cpu:0",
        device_name="CPU",
        losses=LOSSES,
        first_step_seconds=1.25,
        ready_seconds=2.5,
        flops_per_sample=1e7,
        process_peak_bytes=512 * 2**20,
        inference_samples_per_second=54321.0,
        latency_p50_seconds=0.0015,
        latency_p99_seconds=0.0025,
        peak_flops_per_second=1e11,
    )
    return replace(found, **changes)


def run_of(rates: Mapping[str, float], *extra: Measurement, twin: float = 1.002, rounds: int = 7) -> Run:
    """A run of one group. rates: the samples a second of each cell by its title, the first of which has a twin that is
    `twin` times as fast; each round is off by a little."""
    measurements: list[Measurement] = []
    for place, (title, rate) in enumerate(rates.items()):
        noise = (STEADY[place % 7 :] + STEADY[: place % 7])[:rounds]
        measurements.append(measured(cell(title), [rate * factor for factor in noise]))
        if place == 0:
            noise = (STEADY[3:] + STEADY[:3])[:rounds]
            measurements.append(measured(cell(title, twin=True), [rate * twin * factor for factor in noise]))
    return Run("2026-01-01T00:00:00+00:00", "0.1.0", rounds, 1.0, dict(ENVIRONMENT), (*measurements, *extra))
