"""Text survives the way into tokens and back, and no test word leaks into the vocabulary."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from unidl.data import load_data
from unidl.data.text import (
    PADDING,
    PADDING_WORD,
    UNKNOWN,
    UNKNOWN_WORD,
    build_vocabulary,
    encode,
    join,
    spacing,
    tokenize,
    windows,
)
from unidl.errors import DataError, UsageError


def test_words_numbers_and_signs():
    assert tokenize("Don't PRINT __init__(x2) -- 3.14%!\n") == [
        *("don't", "print", "_", "_", "init", "_", "_", "(", "x", "2", ")"),
        *("-", "-", "3", ".", "14", "%", "!"),
    ]
    assert tokenize("'quoted'") == ["'", "quoted", "'"]
    assert tokenize("naïve") == tokenize("NAI\u0308VE"), "two ways to write one letter"


WRITTEN = {
    "Hindi": ("हिन्दी भाषा, हिन्दी हिन्दी।", ["हिन्दी", "भाषा", ",", "हिन्दी", "हिन्दी", "।"]),
    "Bengali": ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
    "Tamil": ("தமிழ் மொழி.", ["தமிழ்", "மொழி", "."]),
    "Thai": ("ภาษา ที่ดี", ["ภาษา", "ที่ดี"]),
    "Hebrew": ("שָׁלוֹם לְךָ, צה״ל", ["שָׁלוֹם", "לְךָ", ",", "צה״ל"]),
    "Arabic": ("مُحَمَّدٌ، كِتَابٌ؟", ["مُحَمَّدٌ", "،", "كِتَابٌ", "؟"]),
    "Persian": ("می\u200cخواهم", ["می\u200cخواهم"]),
    "Yoruba": ("ẹ̀kọ́ yorùbá", ["ẹ̀kọ́", "yorùbá"]),
    "Turkish": ("i̇stanbul", ["i̇stanbul"]),
    "Korean": ("한국어, 말", ["한국어", ",", "말"]),
    "emoji": (
        "👍🏽 ❤️ 👨\u200d👩\u200d👧 🇩🇪 🇫🇷 1️⃣",
        ["👍🏽", "❤️", "👨\u200d👩\u200d👧", "🇩🇪", "🇫🇷", "1️⃣"],
    ),
}


@pytest.mark.parametrize("language", WRITTEN)
def test_a_word_is_not_cut_at_its_marks(language):
    """In most of the world's scripts a vowel or an accent is a code point of its own."""
    text, tokens = WRITTEN[language]
    tokens = [unicodedata.normalize("NFC", token) for token in tokens]
    assert tokenize(text) == tokens
    assert tokenize(unicodedata.normalize("NFD", text)) == tokens
    assert join(tokens) == unicodedata.normalize("NFC", text)


def test_english_is_cut_as_ever():
    """A trained model knows its words by the rule that it learned with."""
    from pydoc_data.topics import topics

    rule = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")
    text = "\n".join(topics[name] for name in sorted(topics))
    assert tokenize(text) == rule.findall(text.lower())


def test_joined_text_reads_like_text():
    text = "the built-in f (x), like snake_case, takes [3] or more; don't: 50% of it."
    assert join(tokenize(text)) == text


def test_text_can_be_streamed_token_by_token():
    tokens = tokenize("Hello, world (again)!")
    streamed, previous = "", ""
    for token in tokens:
        streamed += spacing(previous, token) + token
        previous = token
    assert streamed == join(tokens) == "hello, world (again)!"


MARKED = "a (.।हि\u094d🇩🇪👍🏽\u200d\ufe0f1\u20e3\u0600\u0301"


@given(
    text=some.text(max_size=60)
    | some.text("aB'’1_-. (),*=%/İΣ\u0308\u0338", max_size=30)
    | some.text(MARKED, max_size=30)
)
@example("a ' b and don' t")
@example("🇩 🇩 ( \u0308 \u0308 \u0600 . \u0600 1 👍 🏽 👍 \u200d 👍")
@example("-\u0338(\u0308_\u0331 a' 'b ''a")
def test_tokens_survive_being_written_and_read(text):
    tokens = tokenize(text)
    assert tokenize(join(tokens)) == tokens
    assert all(token and not token.isspace() for token in tokens)


def test_special_words_cannot_come_out_of_a_text():
    assert PADDING_WORD not in tokenize(PADDING_WORD)
    assert UNKNOWN_WORD not in tokenize(f"a {UNKNOWN_WORD} b")


def test_vocabulary_is_by_frequency_then_alphabet():
    words = ["b", "c", "a", "c", "b", "d"]
    assert build_vocabulary(words, 5) == (PADDING_WORD, UNKNOWN_WORD, "b", "c", "a")
    assert build_vocabulary(reversed(words), 5) == build_vocabulary(words, 5)
    assert len(build_vocabulary(words, 100)) == 6
    with pytest.raises(UsageError, match="size must be at least 3, not 2"):
        build_vocabulary(words, 2)


@given(words=some.lists(some.sampled_from("abcdefgh"), min_size=1), size=some.integers(3, 12))
def test_encoding_gives_back_the_words_it_knows(words, size):
    vocabulary = build_vocabulary(words, size)
    numbers = encode(words, vocabulary)
    assert numbers.dtype == np.int32
    assert PADDING not in numbers
    for word, number in zip(words, numbers, strict=True):
        assert vocabulary[number] == word if word in vocabulary else number == UNKNOWN


@given(count=some.integers(2, 40), length=some.integers(1, 39))
def test_each_window_is_followed_by_its_label(count, length):
    tokens = np.arange(count, dtype=np.int32)
    if length >= count:
        with pytest.raises(DataError, match=f"at least {length + 1} are needed"):
            windows(tokens, length)
        return
    x, y = windows(tokens, length)
    assert x.shape == (count - length, length)
    np.testing.assert_array_equal(x, np.arange(count - length)[:, None] + np.arange(length))
    np.testing.assert_array_equal(y, x[:, -1] + 1)
    x[0, 0] = -1
    assert tokens[0] == 0, "a window must be a copy that a framework may write to"


def test_python_docs():
    data = load_data("python-docs")
    assert data.kind == "text"
    assert data.vocabulary[:2] == (PADDING_WORD, UNKNOWN_WORD)
    assert len(data.vocabulary) == 1000
    assert data.train.x.shape[1:] == data.test.x.shape[1:] == (20,)
    assert data.train.x.dtype == data.train.y.dtype == np.int32
    count = data.origin["tokens"]
    assert count > 100_000, "the topics grow with each Python version"
    assert len(data.test) == count // 10 - 20
    assert len(data.train) == count - count // 10 - 20
    assert 0.02 < data.origin["unknown_share"] < 0.08
    assert data.origin["python"].count(".") == 2
    assert len(data.origin["sha256"]) == 64
    for split in (data.train, data.test):
        assert split.x.min() >= UNKNOWN
        assert split.x.max() < 1000
        np.testing.assert_array_equal(split.x[1:, -1], split.y[:-1])


def test_a_text_file_is_treated_alike(tmp_path):
    path = tmp_path / "story.txt"
    text = "Once upon a time. " * 50
    path.write_text("\ufeff" + text, encoding="utf-8")  # the mark that Windows puts in front of UTF-8
    data = load_data(path, sequence_length=4, vocabulary_size=6, test_fraction=0.2)
    assert data.name == "story.txt"
    assert data.vocabulary == (PADDING_WORD, UNKNOWN_WORD, ".", "a", "once", "time")
    assert len(data.train) + len(data.test) == data.origin["tokens"] - 2 * 4
    assert data.train.x[0].tolist() == [4, UNKNOWN, 3, 5]
    assert data.train.y[0] == 2
    assert data.origin["unknown_share"] == 0.2
    assert data.origin["source"] == str(path)
    assert data.origin["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_share_held_out_is_exact_where_binary_fractions_are_not(tmp_path):
    path = tmp_path / "hundred.txt"
    path.write_text("word " * 100)
    assert len(load_data(path, sequence_length=1, test_fraction=0.29).test) == 29 - 1


def test_a_trained_models_vocabulary_keeps_its_numbers(tmp_path):
    """Counted anew, the same number would mean another word, and the model's figures would be nonsense."""
    path = tmp_path / "story.txt"
    path.write_text("tulip rose tulip tulip " * 50)
    words = (PADDING_WORD, UNKNOWN_WORD, "rose", "tulip", "elm")
    data = load_data(path, vocabulary=words, sequence_length=3)
    assert data.vocabulary == words
    assert data.train.x[0].tolist() == [3, 2, 3]
    assert load_data(path, sequence_length=3).train.x[0].tolist() == [2, 3, 2]
    with pytest.raises(UsageError, match="mutually exclusive"):
        load_data(path, vocabulary=words, vocabulary_size=5)
    with pytest.raises(UsageError, match="must be a list of words that starts with"):
        load_data(path, vocabulary=words[2:])


def test_the_vocabulary_knows_nothing_of_the_test_part(tmp_path):
    path = tmp_path / "story.md"
    path.write_text("seen " * 90 + "secret " * 10)
    data = load_data(path, sequence_length=2)
    assert "secret" not in data.vocabulary
    assert (data.test.x == UNKNOWN).all()
    assert data.origin["test_unknown_share"] == 1


@given(fraction=some.floats(0.01, 0.99), length=some.integers(1, 50))
def test_the_number_of_tokens_an_error_asks_for_is_enough_and_not_too_much(tmp_path_factory, fraction, length):
    path = tmp_path_factory.getbasetemp() / "short.txt"
    path.write_text("word " * (length + 1))
    options = {"sequence_length": length, "test_fraction": fraction}
    with pytest.raises(DataError, match=f"has {length + 1} tokens.*sequence_length={length}") as caught:
        load_data(path, **options)
    needed = int(str(caught.value).split("at least ")[1].split()[0])
    path.write_text("word " * needed)
    load_data(path, **options)
    path.write_text("word " * (needed - 1))
    with pytest.raises(DataError, match="too short"):
        load_data(path, **options)


def test_a_file_that_is_no_text_is_named_with_the_bad_byte(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt' is not UTF-8 text: byte 2 is 0xef"):
        load_data(path)
    with pytest.raises(UsageError, match="A window must have at least 1"):
        windows(np.arange(3), 0)
