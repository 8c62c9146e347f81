"""The same seed gives the same model, to the bit, on the same backend; without this no result can be repeated."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from training import assert_same_weights, dense, differ, pictures, points, sentences, small_cnn, small_lstm, weights_of

from unidl import Trainer, build_transfer
from unidl.data import Split
from unidl.training import fitting

ON_GPU = os.environ["UNIDL_DEVICE"].startswith("gpu")
ROUNDING = 1e-6 if ON_GPU else 0.0
"""A GPU's libraries add up in any order where threads write to one place."""
APART = 2e-2 if ON_GPU else 0.0
"""Two programs of one step may there compute by other algorithms, which are chosen by their speed; Adam divides by the
size of gradients, and makes of a rounding error a share of a step."""

BUILDERS = {
    "cnn": lambda seed: small_cnn(dropout=0.3, seed=seed),
    "lstm": lambda seed: small_lstm(dropout=0.3, seed=seed),
    "transfer": lambda seed: build_transfer(small_cnn(seed=3), None, 4, dense_units=8, dropout=0.3, seed=seed),
}


def values(variables):
    return [np.array(variable.numpy()) for variable in variables]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_seed_gives_the_same_weights(backend, name):
    """An epoch from the same beginning ends with the same bits; a second model of the seed begins the same."""
    model = BUILDERS[name](0)
    assert_same_weights(values(BUILDERS[name](0).variables), values(model.variables))
    data = sentences(12) if name == "lstm" else pictures(12)
    trainer = Trainer(model, optimizer="sgd", metrics=[])
    model.optimizer.build(model.trainable_variables)
    # The positions in the streams of dropout masks are variables as well.
    state = [*model.variables, *model.optimizer.variables]
    start = values(state)

    def trained(seed):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        trainer.seed = seed
        trainer.fit(data, batch_size=4, progress="quiet")
        return values(state)

    once = trained(0)
    assert differ(once, start)
    assert_same_weights(trained(0), once, ROUNDING)
    assert differ(trained(1), once)


def test_a_second_model_of_the_seed_ends_the_same(backend):
    """Whatever else the process has built in between."""

    def trained():
        model = dense(dropout=0.5)
        Trainer(model).fit(points(8), batch_size=4, progress="quiet")
        return weights_of(model)

    assert_same_weights(trained(), trained(), ROUNDING)


DRAWN = random.Random(0)
STEPS = {
    "one": lambda: 1,
    "two": lambda: 2,
    "three": lambda: 3,
    "all": lambda: 1024,
    "drawn": lambda: DRAWN.choice((1, 1, 2, 3, 5)),
}
"""How many steps a dispatch takes."""


@pytest.fixture(scope="module")
def as_the_clock_says(backend):
    return paced()


def paced(data=None):
    """Weights and history after two epochs of eight steps, the last of three rows."""
    model = small_cnn(dropout=0.3)
    trainer = Trainer(model, optimizer="adam")
    trainer.fit(data or pictures(31), epochs=2, batch_size=4, progress="quiet")
    return weights_of(model), trainer.history


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_how_long_a_step_takes_changes_nothing(backend, monkeypatch, as_the_clock_says, steps):
    """The clock chooses how many steps a dispatch takes, and a busy machine makes them few."""

    class Pace:
        def __init__(self, limit):
            self._limit = limit

        def __call__(self):
            return min(steps(), self._limit)

        def rest(self): ...

    monkeypatch.setattr(fitting, "Pace", Pace)
    weights, history = paced()
    assert_same_weights(weights, as_the_clock_says[0], APART)
    assert history == (pytest.approx(as_the_clock_says[1], rel=APART) if ON_GPU else as_the_clock_says[1])


@pytest.mark.parametrize("offset", [4, 20, 32])
def test_where_in_memory_the_rows_lie_changes_nothing(backend, as_the_clock_says, offset):
    """NumPy puts an array anywhere, in each process elsewhere; libraries compute by where numbers lie."""
    data = pictures(31)
    memory = np.empty(data.x.nbytes + 128, np.uint8)
    first = -memory.ctypes.data % 64 + offset
    x = memory[first : first + data.x.nbytes].view(data.x.dtype).reshape(data.x.shape)
    x[...] = data.x
    weights, history = paced(Split(x, data.y))
    assert_same_weights(weights, as_the_clock_says[0], APART)
    assert history == (pytest.approx(as_the_clock_says[1], rel=APART) if ON_GPU else as_the_clock_says[1])
