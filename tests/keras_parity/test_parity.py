"""Models of all kinds train here as Keras trains them: the same losses, metrics and weights, on each backend.

Without this a model that somebody brings is another one after training here, and nothing says so.
Plain `pytest` runs some of the cases one batch at a time, `tox -m parity` all of them in each way that they can be run.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from parity import assert_equal_runs, assert_trains_alike
from runs import by_keras, by_trainer, resumed
from tables import CASES, SHORT

from unidl.errors import SavedModelError

SEVERAL_A_DISPATCH = ("functional", "dropout", "MeanIoU", "AdamW on orthogonal kernels")
"""The cases that plain `pytest` runs without a callback, too: as users do, several steps go in one dispatch."""

KILLED = ("dropout", "masked, bidirectional LSTM")
"""The cases that plain `pytest` kills and resumes."""

COMPILED_SHARE = 0.9


def parameters(names):
    """All cases; those that are not among `names` are for the long form."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.parity) for name in CASES]


@cache
def expected(name):
    return by_keras(CASES[name])


def keras_trains(name, backend):
    """Whether Keras can train a case at all here; else fail unless it says what the table says."""
    words = CASES[name].untrained.get(backend.name)
    if words is not None:
        with pytest.raises(RuntimeError, match=words):
            expected(name)
    return words is None


@cache
def watched(name):
    return by_trainer(CASES[name])


@cache
def unwatched(name):
    return by_trainer(CASES[name], watched=False)


@pytest.mark.parametrize("name", parameters(SHORT))
def test_each_step_is_keras_step(name, backend):
    """Losses, metrics and weights where a callback looks at each batch; where a case asks for it, what it predicts. The
    steps are compiled, or a sentence says why not: a case that falls off the fast path is as slow as Keras."""
    found, plain = watched(name), CASES[name].plain.get(backend.name)
    if plain is None:
        assert found.why is None
    else:
        assert re.search(plain, found.why or ""), f"expected {plain!r}, and it says {found.why!r}"
    if not keras_trains(name, backend):
        return
    assert len(found.batches) == len(expected(name).batches) > 0
    assert_trains_alike(found, expected(name), CASES[name].share)


@pytest.mark.parametrize("name", parameters(SEVERAL_A_DISPATCH))
def test_epochs_of_several_steps_a_dispatch_are_keras_epochs(name, backend):
    """Nobody looks at single batches, which is how most people train."""
    found = unwatched(name)
    if keras_trains(name, backend):
        assert_trains_alike(found, expected(name), CASES[name].share)


@pytest.mark.parametrize("name", parameters(KILLED))
def test_a_killed_run_ends_with_the_same_bits(name, backend, tmp_path):
    """A fresh model goes on from a checkpoint amid an epoch. What a checkpoint forgets shows here."""
    unsaved = CASES[name].unsaved
    if unsaved is None:
        assert_equal_runs(resumed(CASES[name], tmp_path / "checkpoints"), unwatched(name))
        return
    with pytest.raises(SavedModelError, match=unsaved):
        resumed(CASES[name], tmp_path / "checkpoints")


def test_nine_of_ten_cases_are_compiled(backend, capsys):
    """As the test above holds each case to what its row says."""
    plain = {name: case.plain[backend.name] for name, case in CASES.items() if backend.name in case.plain}
    with capsys.disabled():
        for name, sentence in plain.items():
            print(f"\n{backend.name}, not compiled: {name}: {sentence}", end="")
    assert len(plain) <= (1 - COMPILED_SHARE) * len(CASES)
