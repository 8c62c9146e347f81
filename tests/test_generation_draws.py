"""Words come as often as they are likely. Without this a text is duller or wilder than asked for, and none can tell."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from unidl.errors import ModelError
from unidl.generation import Draws, choose, token_draw
from unidl.random import stream

ALMOST_ONE = math.nextafter(1.0, 0.0)
probabilities = arrays(
    np.float64, some.integers(3, 30), elements=some.floats(0, 1, allow_subnormal=True), fill=some.nothing()
)
draws = some.builds(
    Draws,
    temperature=some.one_of(some.just(0.0), some.floats(1e-300, 1e300)),
    top_k=some.none() | some.integers(1, 40),
    top_p=some.none() | some.floats(0, 1, exclude_min=True),
)


@given(probabilities, some.floats(0, ALMOST_ONE) | some.just(ALMOST_ONE), draws)
def test_every_draw_is_a_word_that_is_allowed(vector, draw, how):
    """For all probabilities and options: no padding, no unknown word, none of probability 0, none outside top_k."""
    if not vector[2:].any():
        with pytest.raises(ModelError):
            choose(vector, draw, how)
        return
    token = choose(vector, draw, how)
    assert token >= 2
    assert vector[token] > 0
    if how.top_k is not None:
        assert np.count_nonzero(vector[2:] > vector[token]) < how.top_k
    if how.temperature == 0 or how.top_k == 1:
        assert vector[token] == vector[2:].max()


@given(probabilities, some.floats(0, ALMOST_ONE), some.floats(0, 1, exclude_min=True))
def test_a_nucleus_holds_the_fewest_words_that_are_enough(vector, draw, top_p):
    vector[2] += 0.5
    token = choose(vector, draw, Draws(top_p=top_p))
    likelier = vector[2:][vector[2:] > vector[token]].sum()
    assert likelier < top_p * vector[2:].sum() + 1e-9


def test_a_tiny_nucleus_is_the_likeliest_word():
    vector = np.array([0.5, 0.2, 0.05, 0.2, 0.05])
    for draw in (0.0, 0.5, ALMOST_ONE):
        assert choose(vector, draw, Draws(top_p=5e-324)) == 3


@pytest.mark.parametrize(
    "vector",
    [[0.5, 0.5, 0.0, 0.0], [0.1, 0.2, math.nan, 0.7], [0.1, 0.2, math.inf, 0.7], [0.9, 0.2, -0.1, 0.0]],
    ids=["all zero", "NaN", "infinite", "negative"],
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_outputs_that_are_no_probabilities_are_one_error(vector, temperature):
    """Taken as they are, they would give padding, or always the same word."""
    with pytest.raises(ModelError, match="No word has a positive probability"):
        choose(np.array(vector), 0.3, Draws(temperature))


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's statistic over the words that can be drawn."""
    possible = expected > 0
    assert not counts[~possible].any()
    return float(((counts - expected)[possible] ** 2 / expected[possible]).sum())


COUNT = 8_000
LIMIT = 29.9
"""Limit of Pearson's statistic with 10 degrees of freedom, exceeded by chance once in a thousand; the seed is fixed."""


def drawn(vector: np.ndarray, how: Draws) -> np.ndarray:
    generator = np.random.default_rng(0)
    tokens = [choose(vector, draw, how) for draw in generator.random(COUNT)]
    return np.bincount(tokens, minlength=len(vector))


def expected_counts(vector: np.ndarray, *, temperature=1.0, keep=slice(None)) -> np.ndarray:
    """How often each word should be drawn; keep: the ranks that may be."""
    weights = np.zeros_like(vector)
    ranked = np.argsort(-vector[2:])[keep] + 2
    weights[ranked] = vector[ranked] ** (1 / temperature)
    return COUNT * weights / weights.sum()


VECTOR = np.array([0.2, 0.1, 0.02, 0.13, 0.05, 0.17, 0.07, 0.03, 0.04, 0.06, 0.09, 0.04])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Draws(), expected_counts(VECTOR)),
        (Draws(temperature=0.5), expected_counts(VECTOR, temperature=0.5)),
        (Draws(temperature=3.0), expected_counts(VECTOR, temperature=3.0)),
        (Draws(top_k=3), expected_counts(VECTOR, keep=slice(3))),
        (
            Draws(top_p=0.5),
            expected_counts(VECTOR, keep=slice(3)),
        ),  # 0.17 + 0.13 < 0.35 = half of 0.7 < 0.17 + 0.13 + 0.09
        (Draws(temperature=2.0, top_k=5), expected_counts(VECTOR, temperature=2.0, keep=slice(5))),
    ],
)
def test_words_come_as_often_as_they_are_likely(how, expected):
    assert chi_square(drawn(VECTOR, how), expected) < LIMIT


def test_the_chi_square_test_finds_a_wrong_distribution():
    assert chi_square(drawn(VECTOR, Draws(temperature=0.85)), expected_counts(VECTOR)) > LIMIT


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Draws(seed=1), "aa941a6e8a34c6bdb96e9da03936dc238a4c642aea8e8d59eea8cd6e9f4ca90f"),
        (Draws(temperature=0.7, seed=1), "fca4d408e9c8f2bc98b5a48baca7abd70f3aa6eb6e3fc70c42ab4f18cade384b"),
        (Draws(temperature=1.5, top_k=40, seed=2), "863fd268b2f1255c7464aa6b1e5892f358f1a21f2784ede1ad0d89972a68dea1"),
        (Draws(temperature=0.9, top_p=0.8, seed=3), "2bebc8e578e23fa6cf1eb9bc69451dfdfa4975ed0aeb80b8d6150b1292eb4ac0"),
    ],
)
def test_the_same_probabilities_give_these_tokens_everywhere(how, expected):
    """500 words out of a thousand, drawn as `stream_text` draws them, by a hash."""
    tokens: list[int] = []
    for position in range(500):
        likely = stream(0, "probabilities of a test", position).random(1000) ** 8
        tokens.append(choose(likely / likely.sum(), token_draw(how.seed, position), how))
    assert len(set(tokens)) > 100
    assert hashlib.sha256(np.array(tokens, "<i8").tobytes()).hexdigest() == expected
