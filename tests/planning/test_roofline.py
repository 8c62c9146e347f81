"""Memory and time from the costs of layers. Without this a plan sends somebody to a GPU that is too small."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unidl.errors import PrecisionError
from unidl.machine.data_sheets import DataSheet, chosen, data_sheets
from unidl.planning.arithmetic import automatic, why_not
from unidl.planning.assumed import RESERVED_BYTES, SLACK, Efficiency
from unidl.planning.costs import LayerCost, ModelCost
from unidl.planning.memory import largest_batch, memory_need, usable_bytes
from unidl.planning.plan import Job, plan
from unidl.planning.roofline import layer_times, moved_bytes, ridge_point, shares
from unidl.precision import named

FLOAT32, MIXED = named("float32"), named("mixed_bfloat16")
PERFECT = Efficiency(1.0, 1.0, 1.0, 0.0, "a test", "none")
SHEET = DataSheet("Test 1", 1.0, 100.0, 1.0, 100.0, "2026-11", ("a test",), bf16_tflops=4.0)
DENSE = LayerCost("dense", "Dense", 2e6, 3, 1000, 1000, 1000, 10**6, 10**6)
RELU = LayerCost("relu", "Activation", 0.0, 2, 1000, 1000, 1000, 0, 0)
COST = ModelCost("model", (DENSE, RELU), 10**6, 10**6, "Adam", 2)


def test_the_memory_of_a_training_step_is_the_sum_of_its_parts():
    need = memory_need(COST, FLOAT32, 10)
    assert (need.weights, need.gradients, need.optimizer) == (4e6, 4e6, 8e6)
    assert need.activations == 10 * 2000 * 4
    assert need.workspace == 10 * 2000 * 4
    assert need.total == 16e6 + 160e3


def test_mixed_precision_halves_activations_and_keeps_a_second_copy_of_the_weights():
    need = memory_need(COST, MIXED, 10)
    assert need.weights == 6e6
    assert need.optimizer == 8e6
    assert need.activations == 10 * 2000 * 2


def test_inference_keeps_neither_gradients_nor_activations():
    need = memory_need(COST, FLOAT32, 10, training=False)
    assert need.total == 4e6 + 10 * 2000 * 4


def test_the_largest_batch_fits_and_the_next_one_does_not():
    most = largest_batch(COST, FLOAT32, SHEET.memory_bytes)
    room = usable_bytes(SHEET.memory_bytes)
    assert room == (1e9 - RESERVED_BYTES) * (1 - SLACK)
    assert memory_need(COST, FLOAT32, most).total <= room < memory_need(COST, FLOAT32, most + 1).total
    assert largest_batch(COST, FLOAT32, RESERVED_BYTES) == 0


def test_a_layer_takes_the_longer_of_computing_and_moving():
    dense, relu, optimizer = layer_times(COST, SHEET, FLOAT32, 100, PERFECT)
    assert dense.compute_seconds == 3 * 100 * 2e6 / 1e12
    assert dense.traffic_seconds == moved_bytes(DENSE, FLOAT32, 100) / 100e9
    assert dense.seconds == dense.compute_seconds
    assert dense.bound == "computing"
    assert (relu.compute_seconds, relu.bound) == (0.0, "bandwidth")
    # Adam reads weight, gradient and two averages, and writes three of them.
    assert optimizer.moved_bytes == 7 * 4 * 10**6
    assert sum(shares((dense, relu, optimizer)).values()) == pytest.approx(1)


def test_efficiency_and_launches_lengthen_a_step():
    half = replace(PERFECT, float32=0.5, bandwidth=0.5, launch_seconds=1e-3)
    before, after = (
        sum(time.seconds for time in layer_times(COST, SHEET, FLOAT32, 100, one)) for one in (PERFECT, half)
    )
    assert after == pytest.approx(2 * before + (3 + 2 + 1) * 1e-3)


def test_a_frozen_layer_before_all_others_costs_its_forward_pass():
    frozen = replace(DENSE, factor=1, kept=0, trainable=0)
    assert moved_bytes(frozen, FLOAT32, 10) == moved_bytes(frozen, FLOAT32, 10, training=False)


def test_the_ridge_point_is_rate_over_bandwidth():
    assert ridge_point(SHEET, FLOAT32) == 10
    assert ridge_point(SHEET, MIXED) == 40


def test_a_precision_without_units_is_said_and_not_replaced():
    t4, h100, amd = chosen(["T4", "H100 SXM", "MI300X"], data_sheets())
    assert why_not(MIXED, t4) == "it has no units for bfloat16"
    assert [automatic(sheet).name for sheet in (t4, h100, amd)] == ["mixed_float16", "mixed_bfloat16", "mixed_bfloat16"]
    made = plan(Job(COST, 32, precision="mixed_bfloat16"), (t4, h100))
    assert made.rows[0].why_not == "it has no units for bfloat16"
    assert made.rows[0].step_seconds is None
    assert made.best == 1
    assert "1 of 2 cannot do it" in made.reason
    with pytest.raises(PrecisionError):
        plan(Job(COST, 32, precision="float33"), (t4,))


def test_the_best_is_the_fastest_or_with_prices_the_cheapest():
    sheets = chosen(["T4", "H100 SXM"], data_sheets())
    job = Job(COST, 4096, rows=40960, epochs=2)
    fastest = plan(job, sheets)
    assert fastest.best == 1
    assert "fastest" in fastest.reason
    cheapest = plan(job, sheets, prices={"T4 16GB": 0.01, "H100 SXM5 80GB": 100.0})
    assert cheapest.best == 0
    assert "cheapest" in cheapest.reason
    row = cheapest.rows[0]
    assert job.steps == 20
    assert row.run_seconds == pytest.approx(20 * row.step_seconds)
    assert row.run_cost == pytest.approx(row.run_seconds / 3600 * 0.01)
    assert row.run_kilowatt_hours == pytest.approx(row.run_seconds * 70 / 3.6e6)


def test_a_batch_that_does_not_fit_is_refused_with_the_one_that_does():
    made = plan(Job(COST, 10**6, precision="float32"), (SHEET,))
    assert made.best is None
    assert "1 GB hold batches of up to" in made.rows[0].why_not
    assert "Use batches of at most" in made.reason
    assert made.rows[0].times == ()
