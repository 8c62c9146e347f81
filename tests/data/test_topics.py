"""`python-topics`: words with the topic that they come from. Without classes, a text classifier has nothing to learn
that is at hand."""

from __future__ import annotations

import numpy as np
import pytest

from unidl.data import load_data
from unidl.data.topics import TOPICS
from unidl.errors import DataError


def test_windows_have_the_class_of_their_topic():
    """Naive Bayes on single words finds 70%, chance 23%."""
    data = load_data("python-topics")
    assert data.kind == "text"
    assert data.class_names == TOPICS
    assert len(data.vocabulary) == 1000
    assert data.train.x.shape[1:] == data.test.x.shape[1:] == (64,)
    assert data.train.x.dtype == data.train.y.dtype == np.int32
    assert set(data.train.y) == set(data.test.y) == set(range(10))
    counts = np.ones((10, 1000))
    for row, label in zip(data.train.x, data.train.y, strict=True):
        np.add.at(counts[label], row, 1)
    chances = np.log(counts / counts.sum(axis=1, keepdims=True))
    found = [chances[:, row].sum(axis=1).argmax() for row in data.test.x]
    assert np.mean(found == data.test.y) > 0.6


def test_no_test_window_shares_a_word_with_a_training_window():
    data = load_data("python-topics", vocabulary_size=20_000)
    known = {row.tobytes() for row in np.concatenate([data.train.x[:, first : first + 32] for first in range(33)])}
    rules = 10  # words of a window: the lines of a table are drawn with fewer
    shared = [row for row in data.test.x if row[:32].tobytes() in known and len(set(row[:32])) > rules]
    assert len(shared) < len(data.test) / 50, "but for sentences that stand there twice"


def test_its_form_can_be_said():
    data = load_data("python-topics", sequence_length=16, test_fraction=0.5, vocabulary_size=50)
    assert data.train.x.shape[1] == 16
    assert 0.8 < len(data.train) / len(data.test) < 1.25
    again = load_data("python-topics", sequence_length=16, vocabulary=data.vocabulary)
    assert again.vocabulary == data.vocabulary
    with pytest.raises(DataError, match="windows of 2000 words: its shortest part has"):
        load_data("python-topics", sequence_length=2000)
