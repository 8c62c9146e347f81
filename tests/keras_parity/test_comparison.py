"""The comparisons of parity fail on wrong answers, the tables of cases are complete, and Keras's faults are real."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from cases import SMOOTH, TO_TWO, Case, noise, regressor
from cases_corrected import CASES as CORRECTED
from cases_losses import EVERY_CLASS as LOSSES
from cases_metrics import CASES as METRICS
from cases_optimizers import EVERY_CLASS as OPTIMIZERS
from keras import layers
from parity import assert_equal_runs, assert_trains_alike, step_losses
from runs import Outcome, by_keras, by_trainer

MOVED = {"model 0 kernel": np.array([1.0, 2.0]), "optimizer 0 iteration": np.array(8)}
BATCHES = [{"loss": 1.0 + 0.1 * step, "mae": 2.0} for step in range(8)]
GOOD = Outcome({"loss": [1.0, 0.5], "mae": [2.0, 1.0]}, MOVED, {"model 0 kernel": np.zeros(2)}, BATCHES)

BAD = {
    "the loss of a step": replace(GOOD, batches=[*BATCHES[:5], BATCHES[5] | {"loss": 1.5004}, *BATCHES[6:]]),
    "a metric of a batch": replace(GOOD, batches=[*BATCHES[:7], BATCHES[7] | {"mae": 2.0003}]),
    "a metric of an epoch": replace(GOOD, history={"loss": [1.0, 0.5], "mae": [2.0, 1.0002]}),
    "a metric that is missing": replace(GOOD, history={"loss": [1.0, 0.5]}),
    "a loss that is no number": replace(GOOD, history={"loss": [1.0, np.nan], "mae": [2.0, 1.0]}),
    "an epoch that is missing": replace(GOOD, history={"loss": [1.0], "mae": [2.0]}),
    "a weight": replace(GOOD, variables=MOVED | {"model 0 kernel": np.array([1.0, 2.005])}),
    "a weight that is no number": replace(GOOD, variables=MOVED | {"model 0 kernel": np.array([1.0, np.nan])}),
    "a step that was not counted": replace(GOOD, variables=MOVED | {"optimizer 0 iteration": np.array(7)}),
    "a variable that is missing": replace(GOOD, variables={"model 0 kernel": MOVED["model 0 kernel"]}),
    "a batch that is missing": replace(GOOD, batches=BATCHES[:4]),
    "an evaluation": replace(GOOD, evaluated={"loss": 1.0}),
}


def test_a_run_agrees_with_itself():
    assert_trains_alike(GOOD, GOOD, SMOOTH)
    assert_equal_runs(GOOD, GOOD)
    np.testing.assert_allclose(step_losses(BATCHES)[:3], [1.0, 1.2, 1.4])


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD.keys())
def test_the_comparison_sees(wrong):
    with pytest.raises(AssertionError):
        assert_trains_alike(wrong, GOOD, SMOOTH)


def test_the_comparison_of_runs_sees_a_bit():
    other = np.nextafter(MOVED["model 0 kernel"], 9)
    for wrong in (
        replace(GOOD, variables=MOVED | {"model 0 kernel": other}),
        replace(GOOD, history=GOOD.history | {"mae": [2.0, np.nextafter(1.0, 2)]}),
    ):
        with pytest.raises(AssertionError):
            assert_equal_runs(wrong, GOOD)


def planted(rate=0.05, activation="tanh"):
    optimizer = keras.optimizers.SGD(rate)
    return regressor((4,), layers.Dense(4, activation=activation), optimizer=optimizer)


DATA = (noise(4), TO_TWO)
PLANTED = {
    "another learning rate": Case("", lambda: planted(0.0503), DATA),
    "another activation": Case("", lambda: planted(activation="softsign"), DATA),
    "another row": Case("", planted, (np.concatenate([DATA[0][:-1], DATA[0][:1]]), TO_TWO)),
    "weights that nobody gave": Case("", planted, (*DATA, np.linspace(0.9, 1.1, len(TO_TWO), dtype=np.float32))),
}


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_difference_of_training_is_seen(case, backend):
    with pytest.raises(AssertionError):
        assert_trains_alike(by_trainer(case), by_keras(Case("", planted, DATA)), SMOOTH)


@pytest.mark.parity
@pytest.mark.parametrize("case", CORRECTED, ids=[case.name for case in CORRECTED])
def test_keras_is_wrong_where_the_table_says_so_and_nowhere_else(case, backend):
    """A row is removed once Keras has fixed its fault; the other backends confirm the reference."""
    told = by_keras(case, case.build)
    right = by_keras(case, case.reference)
    if backend.name in case.faults:
        with pytest.raises(AssertionError, match="apart"):
            assert_trains_alike(told, right, case.share)
    else:
        assert_trains_alike(told, right, case.share)


def classes_of(module, base):
    """The names of the classes of a module of Keras that are kinds of `base`, without `base` itself."""
    named = {name: getattr(module, name) for name in dir(module) if name[:1].isupper()}
    kinds = {value for value in named.values() if isinstance(value, type) and issubclass(value, base)}
    return {kind.__name__ for kind in kinds - {base}}


def test_every_loss_and_optimizer_of_keras_has_a_case():
    """A class that Keras adds is one that nobody has tried here."""
    assert classes_of(keras.losses, keras.losses.Loss) == {case.name for case in LOSSES}
    assert classes_of(keras.optimizers, keras.optimizers.Optimizer) == {case.name for case in OPTIMIZERS}


@pytest.mark.parity
def test_every_metric_of_keras_has_a_case():
    seen = {"Mean"}  # of the loss, in each of them
    if "metrics in a layer" not in {case.name for case in METRICS}:
        seen.add("Sum")  # which is in that one alone, and Keras does not train it on every backend
    for case in METRICS:
        model = case.build()
        model.evaluate(case.data[0], case.data[1], verbose=0)
        nested = [metric for layer in model.layers for metric in getattr(layer, "_metrics", ())]
        compiled = [metric for metric in model.metrics if hasattr(metric, "metrics")]
        found = [*nested, *model.metrics, *(inner for outer in compiled for inner in outer.metrics)]
        seen |= {kind.__name__ for metric in found for kind in type(metric).__mro__[:2]}
    assert classes_of(keras.metrics, keras.metrics.Metric) <= seen
