"""The stream of randomness: without it a resumed run, or another backend, would see other numbers."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unidl.random import derived_seed, stream

PLACES = st.tuples(
    st.integers(0, 2**63),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-5, 2**40), st.text(max_size=5)), max_size=3).map(tuple),
)


def draw(place, count=8):
    seed, purpose, position = place
    return stream(seed, purpose, *position).integers(0, 2**63, count)


@given(PLACES)
def test_the_same_place_gives_the_same_draws(place):
    assert np.array_equal(draw(place), draw(place))


@given(PLACES, PLACES)
def test_another_place_gives_other_draws(one, other):
    if one != other:
        assert not np.array_equal(draw(one), draw(other))


def test_the_draws_are_these_in_every_process_and_version():
    """Saved runs are continued by seed and position alone, so that the draws may never change."""
    assert stream(0, "order", 3).integers(0, 1000, 6).tolist() == [866, 20, 989, 467, 808, 762]
    assert stream(1, "initial", "dense/kernel").random(2, dtype=np.float32).tolist() == [
        0.9384251236915588,
        0.08217847347259521,
    ]
    assert derived_seed(0, "dropout", "dropout_1") == 1_479_688_430


def test_neighbouring_seeds_are_unrelated():
    """Keras on torch gives the first draw of seed 2 as the second draw of seed 1."""
    draws = np.array([stream(seed, "x").standard_normal(4000) for seed in range(8)])
    correlations = np.corrcoef(draws) - np.eye(8)
    assert abs(correlations).max() < 5 / np.sqrt(4000)


def test_text_and_number_are_different_positions():
    assert derived_seed(0, "order", 1) != derived_seed(0, "order", "1")


def test_numpy_integers_are_the_seeds_they_look_like():
    assert derived_seed(np.int64(7), "x") == derived_seed(7, "x")


@given(PLACES)
def test_a_derived_seed_fits_a_keras_seed_generator(place):
    seed, purpose, position = place
    assert 0 <= derived_seed(seed, purpose, *position) < 2**31


def test_drawing_leaves_the_global_states_alone():
    """A program's own np.random and random go on as they would have without unidl."""
    code = """
import random, numpy as np
before = (random.getstate(), np.random.get_state()[1].tolist())
from unidl.random import stream
stream(0, "x").random(3)
assert before == (random.getstate(), np.random.get_state()[1].tolist())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
