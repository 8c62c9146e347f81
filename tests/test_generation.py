"""A model writes text. Without this it says "<unk>", another text on each run, or one it would never have written."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import pytest

from unidl import Trainer, build_cnn, build_lstm, generate_text
from unidl.data.text import join, tokenize
from unidl.errors import ModelError, UsageError
from unidl.generation import stream_text
from unidl.generation_windows import SHORTEST, windows_of
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
    with pytest.raises(UsageError, match="it contains no words"):
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


def test_a_custom_model_speaks_with_a_vocabulary():
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Embedding(12, 3), keras.layers.Flatten(), keras.layers.Dense(12, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert len(tokenize(generate_text(model, "the cat", words=3, vocabulary=WORDS))) == 5
    logits = keras.Sequential([keras.Input((4,)), *model.layers[:-1], keras.layers.Dense(12, bias_initializer="ones")])
    logits.compile("sgd", "mse")
    with pytest.raises(ModelError, match="must be a softmax"):
        generate_text(logits, "the cat", words=3, vocabulary=WORDS)


def test_a_model_without_words_says_how_to_get_some():
    with pytest.raises(ModelError, match="has no vocabulary"):
        generate_text(build_lstm(12, 4, units=2), "the cat")
    with pytest.raises(ModelError, match="predicts 12 tokens, but the vocabulary has 13 words"):
        generate_text(language_model([*WORDS, "more"]), "the cat")
    with pytest.raises(ModelError, match="is not a language model"):
        generate_text(build_cnn((8, 8, 1), 12, filters=(2,)), "the cat", vocabulary=WORDS)


def test_a_model_whose_training_failed_says_so():
    model = language_model()
    model.weights[-1].assign(np.full(len(WORDS), np.nan, np.float32))
    with pytest.raises(ModelError, match=r"No word has a positive probability|are not probabilities"):
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


ANY_LENGTH = {
    "last": {},
    "steps": {"output": "steps"},
    "masked": {"mask_padding": True},
    "masked steps": {"mask_padding": True, "output": "steps", "layers": 2},
    "gru of two layers": {"cell": "gru", "layers": 2},
    "both directions": {"bidirectional": True},
    "both directions, masked": {"bidirectional": True, "mask_padding": True},
    "both directions, steps": {"bidirectional": True, "output": "steps"},
}


@pytest.mark.parametrize("options", ANY_LENGTH.values(), ids=ANY_LENGTH)
def test_padding_for_a_model_of_any_length_changes_no_number(options):
    """An LSTM that reads padding says something else; nothing may be padded that shows it to the model."""
    model = language_model(sequence_length=None, sharpness=1.0, **options)
    windows, trainer = windows_of(model), Trainer(model)
    for length in (3, SHORTEST - 1, SHORTEST):
        tokens = [2 + (7 * place) % 10 for place in range(length)]
        expected = trainer.predict(np.array([tokens], np.int32)).reshape(-1, len(WORDS))[-1]
        np.testing.assert_allclose(windows.after(tokens), expected, atol=2e-6)


def custom_model(causal, words=12):
    """A model of attention over all tokens, or over those so far, with an output for each of them."""
    import keras

    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32")
    values = keras.layers.Embedding(words, 8, embeddings_initializer=keras.initializers.RandomNormal(0, 1))(tokens)
    values = keras.layers.MultiHeadAttention(2, 8)(values, values, use_causal_mask=causal)
    return keras.Model(tokens, keras.layers.Dense(words, activation="softmax")(values))


@pytest.mark.parametrize("causal", [True, False])
def test_a_custom_model_is_padded_only_if_it_does_not_look_ahead(causal):
    model = custom_model(causal)
    model.compile()
    windows = windows_of(model)
    tokens = [2, 5, 7, 3, 9]
    expected = Trainer(model).predict(np.array([tokens], np.int32))[0, -1]
    np.testing.assert_allclose(windows.after(tokens), expected, atol=2e-6)
    assert windows._pads is causal


def test_a_text_of_any_length_needs_few_programs(monkeypatch):
    """Compiled for each length and in each call, 30 words took 16 s."""
    shapes = []
    real = Trainer.predict
    monkeypatch.setattr(
        Trainer, "predict", lambda self, x, **rest: shapes.append((self, x.shape)) or real(self, x, **rest)
    )
    model = language_model(sequence_length=None)
    for seed in range(2):
        generate_text(model, "the cat sees", words=SHORTEST, seed=seed)
    assert len(shapes) == 2 * SHORTEST
    assert {shape for _, shape in shapes} == {(1, SHORTEST), (1, 2 * SHORTEST)}
    assert len({id(trainer) for trainer, _ in shapes}) == 1


def test_a_model_that_has_learned_more_says_what_it_says_now():
    model = language_model(sequence_length=None)
    before = generate_text(model, "the cat", words=9, temperature=0)
    model.set_weights(biased_to(4).get_weights())
    assert generate_text(model, "the cat", words=3, temperature=0) == "the cat cat cat cat" != before


def test_what_is_kept_for_a_model_goes_with_it():
    for length in (4, None):
        model = language_model(sequence_length=length)
        generate_text(model, "the cat", words=2)
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None
