"""Uniform and normal draws: good random numbers, the same bits on every backend. Without this two backends would see
other images and other noise, and a run could not move."""

from __future__ import annotations

import hashlib
import math
from importlib import import_module
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
draw = import_module("unidl.layers.draws")
keras = import_module("keras")

DRAWS = 2_000_000
SIGMAS = 5.0
"""As in the tests of dropout's masks."""


def key(seed, number):
    return draw.Key(*(keras.ops.convert_to_tensor(value, dtype="int32") for value in (seed, number)))


def uniform(shape, seed, number, low=0.0, high=1.0):
    return np.asarray(keras.ops.convert_to_numpy(draw.uniform(shape, key(seed, number), low, high)))


def normal(shape, seed, number):
    return np.asarray(keras.ops.convert_to_numpy(draw.normal(shape, key(seed, number))))


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)).hexdigest()


def test_every_backend_has_these_bits():
    ranges = ((0.0, 1.0), (-0.3, 0.3), (0.9, 1.25), (-36.0, 36.0), (7.0, 7.001))
    assert digest(*(uniform((3, 500), 4, 2, *limits) for limits in ranges)) == UNIFORM_BITS
    assert digest(*(normal((3, 500), seed, number) for seed in (0, 2**31 - 2) for number in (0, 9))) == NORMAL_BITS


UNIFORM_BITS = "2146075ee59618df7b51cef500ea8f31de437f46ac17d7246588844d5a30c983"
NORMAL_BITS = "66ab66cb8f0a4f53bc23da315716341fdc6ef30a062a75ac2ae6a9c81bad6957"


@settings(deadline=None, max_examples=40)
@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_every_draw_lies_in_its_range(low, width):
    values = uniform((200,), 1, 0, low, low + width)
    slack = 2 * np.spacing(np.float32(max(abs(low), abs(low + width))))  # the last bit of a float32 of this size
    assert (values >= low - slack).all()
    assert (values <= low + width + slack).all()


def test_places_far_from_zero_and_close_together_still_differ():
    """Here float32 itself has 2**23 * 0.001 / 8 numbers to the unit, about a thousand."""
    assert 500 < len(np.unique(uniform((10_000,), 0, 0, 7.0, 7.001))) < 4500
    assert (uniform((10,), 0, 0, 7.0, 7.0) == 7.0).all()


@pytest.fixture(scope="module")
def many():
    return {place: (uniform((DRAWS,), *place), normal((DRAWS,), *place)) for place in ((0, 0), (0, 1), (1, 0))}


def test_uniform_draws_are_spread_evenly(many):
    for values, _ in many.values():
        counts = np.bincount((values * 1000).astype(int), minlength=1000)
        squares = ((counts - DRAWS / 1000) ** 2 / (DRAWS / 1000)).sum()
        assert abs(squares - 999) < SIGMAS * math.sqrt(2 * 999)


def test_normal_draws_have_the_moments_and_the_quantiles_of_the_distribution(many):
    """Standard errors of the moments 1 to 4 of n normal draws: sqrt(1, 2, 15 and 96, over n)."""
    for _, values in many.values():
        values = values.astype(np.float64)
        for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
            assert abs(np.mean(values**power) - expected) < SIGMAS * math.sqrt(variance / DRAWS)
        for place in (-4.0, -2.5, -1.0, -0.1, 0.0, 0.7, 2.0, 4.0):
            share = NormalDist().cdf(place)
            assert abs(np.mean(values < place) - share) < SIGMAS * math.sqrt(share * (1 - share) / DRAWS)


@pytest.mark.parametrize("lag", [1, 2, 3, 28, 64, 1024])
def test_a_draw_knows_nothing_of_its_neighbours_or_of_other_keys(many, lag):
    for kind in (0, 1):
        values = standard(many[0, 0][kind])
        assert abs(np.mean(values[:-lag] * values[lag:])) < SIGMAS / math.sqrt(DRAWS - lag)
        for other in ((0, 1), (1, 0)):
            assert abs(np.mean(values[lag:] * standard(many[other][kind])[:-lag])) < SIGMAS / math.sqrt(DRAWS - lag)


def standard(values):
    values = values.astype(np.float64)
    return (values - values.mean()) / values.std()
