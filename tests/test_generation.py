"""A model writes text. Without this it says "<unk>", another text on each run, or one it would never have written."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from unidl import Trainer, build_cnn, build_lstm, generate_text, generation
from unidl.data.text import join, tokenize
from unidl.errors import ModelError, UsageError
from unidl.generation import stream_text
from unidl.models import note

WORDS = ("<pad>", "<unk>", "the", "a", "cat", "dog", "sees", "hears", "and", ".", ",", "two")


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


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """A model is compiled for prediction once here, not once a text: most texts are of one model."""
    real = generation._Predictor
    generation._Predictor = functools.lru_cache(maxsize=1)(real)
    yield
    generation._Predictor = real


def biased_to(*tokens: int):
    """A model that nearly always predicts one of these tokens, whatever it is told."""
    model = language_model(sharpness=0.0)
    bias = np.full(len(WORDS), -9.0, dtype=np.float32)
    bias[list(tokens)] = 9.0
    model.weights[-1].assign(bias)
    return model


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
    assert len(tokenize(generate_text(language_model(**options), "the cat", words=3))) == 5


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
