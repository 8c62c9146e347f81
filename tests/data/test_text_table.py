"""Texts in a table, one a row. A label beside the wrong text, or a test text in the vocabulary, is seen by nobody."""

from __future__ import annotations

import numpy as np
import pytest

from unidl import load_data
from unidl.errors import DataError, UsageError

WORDS = {"good": ("fine", "lovely"), "bad": ("poor", "awful")}
REVIEWS = [(f"a {word}, film {number}", mood) for mood, words in WORDS.items() for word in words for number in range(5)]


def written(folder, rows, header=("text", "label")):
    path = folder / "reviews.csv"
    lines = [",".join(header), *(f'"{text}",{",".join(map(str, rest))}' for text, *rest in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def said(split):
    """The words of each row."""
    return [[split.vocabulary[token] for token in row if token] for row in split.x]


def test_each_text_has_its_own_label(tmp_path):
    data = load_data(written(tmp_path, REVIEWS), text="text", sequence_length=5)
    assert (data.kind, data.class_names) == ("text", ("bad", "good"))
    assert (len(data.train), len(data.test)) == (16, 4)
    for split in (data.train, data.test):
        assert split.x.shape[1] == 5
        for words, label in zip(said(split), split.y, strict=True):
            assert words[1] in WORDS[data.class_names[label]]
            assert words[2] == ","
    assert data.origin["text"] == "text"
    again = load_data(tmp_path / "reviews.csv", text="text", sequence_length=5, vocabulary=data.vocabulary)
    np.testing.assert_array_equal(again.train.x, data.train.x)


def test_parquet_holds_the_same_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = written(tmp_path, REVIEWS)
    texts, moods = zip(*REVIEWS, strict=True)
    parquet.write_table(pyarrow.table({"text": texts, "label": moods}), tmp_path / "reviews.parquet")
    one, other = (load_data(file, text="text") for file in (path, tmp_path / "reviews.parquet"))
    np.testing.assert_array_equal(one.test.x, other.test.x)
    np.testing.assert_array_equal(one.test.y, other.test.y)


def test_a_column_may_fix_the_parts_and_the_vocabulary_knows_nothing_of_the_test(tmp_path):
    rows = [(*review, "train" if number % 5 else "test") for number, review in enumerate(REVIEWS)]
    rows[0] = ("unheard", *rows[0][1:])
    data = load_data(written(tmp_path, rows, ("text", "mood", "split")), text="text", target="mood")
    assert (len(data.train), len(data.test)) == (16, 4)
    assert "unheard" not in data.vocabulary
    assert "fine" in data.vocabulary


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (REVIEWS, {"text": "review"}, "has no column 'review'. Its columns are text, label: pass one as text="),
        (REVIEWS, {"text": "label"}, "from itself: pass another target="),
        (REVIEWS, {"vocabulary_size": 9}, "Pass text=, the name of that column, or leave vocabulary_size out"),
        (REVIEWS, {"text": "text", "workers": 2}, "workers does not apply to"),
        ([*REVIEWS, ("", "good")], {"text": "text"}, "Row 20 of"),
        ([*REVIEWS, ("fine", "")], {"text": "text"}, "Row 20 of"),
        ([(text, 0.5 * row) for row, (text, _) in enumerate(REVIEWS)], {"text": "text"}, "texts are classified"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, rows, options, message):
    with pytest.raises((DataError, UsageError)) as caught:
        load_data(written(tmp_path, rows), **options)
    assert message in str(caught.value)
