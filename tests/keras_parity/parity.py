"""What it is for two runs to agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cases import STEPS
from runs import Outcome

LOSS = 1e-4
"""Largest difference of the loss of a step, and of a metric, as a share of max(1, its size)."""


def assert_trains_alike(found: Outcome, expected: Outcome, share: float) -> None:
    """Fail unless the losses of single steps, the metrics of each batch and of each epoch, and the variables at the end
    agree; of steps and batches if the run was watched. share: as in `Case`."""
    if found.batches:
        assert len(found.batches) == len(expected.batches)
        assert_same_values(step_losses(found.batches), step_losses(expected.batches), "loss of step")
        for step, (logs, wanted) in enumerate(zip(found.batches, expected.batches, strict=True)):
            assert_same_metrics(logs, wanted, f"batch {step}: ")
    assert_same_metrics(found.history, expected.history, "epochs: ")
    assert_same_metrics(found.evaluated, expected.evaluated, "evaluate: ")
    for place, (output, wanted) in enumerate(zip(found.predicted, expected.predicted, strict=True)):
        assert_same_values(output, wanted, f"output {place}")
    assert_same_variables(found.variables, expected.variables, expected.start, share)


def step_losses(batches: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The loss of each step. Keras gives the mean since the epoch began; what is compared is a sum of such means also
    where a model says its losses itself."""
    means = np.array([float(logs["loss"]) for logs in batches]).reshape(-1, STEPS)
    counts = np.arange(1, STEPS + 1)
    return np.diff(means * counts, axis=1, prepend=0).ravel()


def assert_same_metrics(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Fail unless there are the same metrics, with the same values."""
    assert sorted(found) == sorted(expected), where
    for name, values in expected.items():
        assert_same_values(found[name], values, f"{where}{name}")


def assert_same_values(found: Any, expected: Any, what: str) -> None:
    """Fail unless numbers are the same up to LOSS."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, what
    apart = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    worst = int(np.argmax(apart)) if apart.size else 0
    # A comparison with NaN is false, so what must hold is written down, not what must not.
    assert apart.size == 0 or np.all(apart <= LOSS), (
        f"{what} {worst}: {found.ravel()[worst]:.7g} for {expected.ravel()[worst]:.7g}, {apart.max():.2g} apart"
    )


def assert_same_variables(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], share: float
) -> None:
    """Fail unless each variable is off by at most `share` of the way that it went, or by a last bit of float32."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        began = np.asarray(start.get(name, np.zeros_like(value)), np.float64)
        value, other = value.astype(np.float64), found[name].astype(np.float64)
        way, apart = np.linalg.norm(value - began), np.linalg.norm(other - value)
        allowed = share * way + 1e-6 * np.linalg.norm(value) + 1e-7
        assert apart <= allowed, f"{name}: {apart:.2g} apart after a way of {way:.2g}"


def assert_equal_runs(found: Outcome, expected: Outcome) -> None:
    """Fail unless two runs ended with the same bits."""
    assert list(found.variables) == list(expected.variables)
    for name, value in expected.variables.items():
        apart = np.abs(found.variables[name].astype(np.float64) - value.astype(np.float64))
        np.testing.assert_array_equal(found.variables[name], value, err_msg=f"{name}, {apart.max(initial=0):.2g} apart")
    assert sorted(found.history) == sorted(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_array_equal(found.history[name], values, err_msg=name)
