"""Words are drawn as a person asked for. Without this a text says "<unk>", differs from one run to the next, or is one that
the model would never have written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from unidl import Trainer, build_cnn, build_lstm, generate_text
from unidl.data.text import join, tokenize
from unidl.errors import ModelError, UsageError
from unidl.generation import Draws, choose, stream_text
from unidl.models import note

WORDS = ("<pad>", "<unk>", "the", "a", "cat", "dog", "sees", "hears", "and", ".", ",", "two")
ALMOST_ONE = math.nextafter(1.0, 0.0)


def language_model(words=WORDS, *, sharpness=4.0, **options):
    """A small model whose probabilities are far from equal."""
    model = build_lstm(**{"vocabulary_size": len(WORDS), "sequence_length": 4, "units": 4} | options)
    generator = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(generator.uniform(-sharpness, sharpness, size=weight.shape).astype(np.float32))
    note(model, vocabulary=tuple(words))
    return model


@pytest.fixture(scope="module")
def model():
    return language_model()


def biased_to(*tokens: int):
    """A model that nearly always predicts one of these tokens, whatever it is told."""
    model = language_model(sharpness=0.0)
    bias = np.full(len(WORDS), -9.0, dtype=np.float32)
    bias[list(tokens)] = 9.0
    model.weights[-1].assign(bias)
    return model


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
    with pytest.raises(ModelError, match="gives no word a probability"):
        choose(np.array(vector), 0.3, Draws(temperature))


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's statistic over the words that can be drawn."""
    possible = expected > 0
    assert not counts[~possible].any()
    return float(((counts - expected)[possible] ** 2 / expected[possible]).sum())


COUNT = 8_000
LIMIT = 29.9
"""Of Pearson's statistic with 10 degrees of freedom: exceeded by chance once in a thousand; the seed is fixed."""


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


def test_neither_padding_nor_the_unknown_word_is_ever_written():
    """Here they are all that the model wants to say."""
    words = tokenize(generate_text(biased_to(0, 1), "the cat", words=40))[2:]
    assert len(words) == 40
    assert set(words) <= set(WORDS[2:])
    assert tokenize(generate_text(biased_to(0, 1, 4), "the dog", words=20))[2:] == ["cat"] * 20


def test_temperature_0_is_greedy_and_so_is_top_k_1(model):
    greedy = generate_text(model, "the cat", words=20, temperature=0)
    assert greedy == generate_text(model, "the cat", words=20, top_k=1, seed=1)
    assert greedy == generate_text(model, "the cat", words=20, temperature=0, seed=99)
    trainer = Trainer(model)
    tokens = [WORDS.index("the"), WORDS.index("cat")]
    for word in tokenize(greedy)[2:8]:
        window = np.array([([0] * 4 + tokens)[-4:]], dtype=np.int32)
        assert WORDS[2 + trainer.predict(window)[0, 2:].argmax()] == word
        tokens.append(WORDS.index(word))


def test_a_seed_is_a_text(model):
    texts = [generate_text(model, "the cat", words=30, temperature=2, seed=seed) for seed in (0, 0, 1, 2**70)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_more_words_go_on_where_fewer_ended(model):
    """Each word has a draw of its own, so a longer text has the shorter one as its beginning."""
    longer = tokenize(generate_text(model, "the cat", words=12, seed=5))
    assert longer[:8] == tokenize(generate_text(model, "the cat", words=6, seed=5))


def test_the_pieces_of_a_stream_are_the_text(model):
    pieces = list(stream_text(model, "The cat, and", words=25, temperature=1.5))
    assert "".join(pieces) == generate_text(model, "The cat, and", words=25, temperature=1.5)
    assert len(pieces) == 26
    assert pieces[0] == "the cat, and"
    words = [piece.strip() for piece in pieces[1:]]
    assert "".join(pieces) == join([*tokenize(pieces[0]), *words])


def test_no_words_is_the_prompt(model):
    assert generate_text(model, "  Two dogs .", words=0) == "two dogs."


@pytest.mark.parametrize(
    "prompt",
    ["zebra xylophone", "the cat sees a dog and hears two cats and a dog", "!", "the\n\tcat", "don't 12 ü", "日本"],
)
def test_any_prompt_with_a_word_or_a_sign_will_do(model, prompt: str):
    text = generate_text(model, prompt, words=5)
    assert len(tokenize(text)) == len(tokenize(prompt)) + 5


def test_only_the_last_words_of_a_long_prompt_count(model):
    """The model sees four: what was said before them must not change the answer, nor break it."""
    short, long = "cat sees a dog", "two two two , , cat sees a dog"
    assert generate_text(model, long, words=9).endswith(generate_text(model, short, words=9))


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_a_prompt_without_a_word_is_a_usage_error(model, prompt: str):
    with pytest.raises(UsageError, match="it has no word to go on from"):
        generate_text(model, prompt)


@pytest.mark.parametrize(
    "options",
    [
        {"output": "steps"},
        {"bidirectional": True, "cell": "gru", "mask_padding": True},
        {"sequence_length": None, "layers": 2},
        {"output": "steps", "sequence_length": None},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_kind_of_language_model_writes(options):
    text = generate_text(language_model(**options), "the cat", words=4)
    assert len(tokenize(text)) == 6
    assert text == generate_text(language_model(**options), "the cat", words=4)


def test_with_an_output_for_each_step_the_last_one_counts():
    model = language_model(output="steps")
    window = np.array([[2, 4, 6, 3]], dtype=np.int32)
    expected = WORDS[2 + Trainer(model).predict(window)[0, -1, 2:].argmax()]
    assert generate_text(model, "the cat sees a", words=1, temperature=0) == join(["the cat sees a", expected])


def test_a_vocabulary_may_be_shorter_than_the_model_is_wide():
    """`build_lstm()` has 1 000 outputs, and a short text has fewer words: those beyond have no name to be said by."""
    model = language_model(WORDS[:6])
    words = tokenize(generate_text(model, "the cat", words=30, temperature=3))
    assert set(words) <= set(WORDS[2:6])


def test_a_strangers_model_speaks_with_a_vocabulary():
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Embedding(12, 3), keras.layers.Flatten(), keras.layers.Dense(12, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert len(tokenize(generate_text(model, "the cat", words=3, vocabulary=WORDS))) == 5
    logits = keras.Sequential([keras.Input((4,)), *model.layers[:-1], keras.layers.Dense(12, bias_initializer="ones")])
    logits.compile("sgd", "mse")
    with pytest.raises(ModelError, match="must end in a softmax"):
        generate_text(logits, "the cat", words=3, vocabulary=WORDS)


def test_a_model_without_words_says_how_to_get_some():
    with pytest.raises(ModelError, match="has no vocabulary"):
        generate_text(build_lstm(12, 4, units=2), "the cat")
    with pytest.raises(ModelError, match="predicts 12 tokens and the vocabulary has 13 words"):
        generate_text(language_model([*WORDS, "more"]), "the cat")
    with pytest.raises(ModelError, match="is no language model"):
        generate_text(build_cnn((8, 8, 1), 12, filters=(2,)), "the cat", vocabulary=WORDS)


def test_a_model_whose_training_failed_says_so():
    model = language_model()
    model.weights[-1].assign(np.full(len(WORDS), np.nan, np.float32))
    with pytest.raises(ModelError, match=r"no word a probability|no probabilities"):
        generate_text(model, "the cat")


@pytest.mark.parametrize(
    "options",
    [
        {"words": -1},
        {"words": 2.5},
        {"words": "5"},
        {"words": True},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": None},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"seed": 0.5},
    ],
    ids=str,
)
def test_an_argument_out_of_range_is_refused_at_once(model, options):
    """By `stream_text` as well, before anybody asks for the first word."""
    [name] = options
    with pytest.raises(UsageError, match=f"Cannot use {name}="):
        stream_text(model, "the cat", **options)
