"""A text classification data set: the topic of the Python documentation from which a few words come."""

from __future__ import annotations

import hashlib
import platform
from itertools import pairwise
from typing import Any

import numpy as np

from unidl.data.corpus import TextForm
from unidl.data.dataset import Dataset, Split
from unidl.data.text import UNKNOWN, build_vocabulary, encode, tokenize
from unidl.errors import DataError

TOPICS = (
    *("comparisons", "compound", "debugger", "formatstrings", "specialnames"),
    *("string-methods", "strings", "types", "typesmapping", "typesseq"),
)
"""The ten longest of CPython's help topics that are not part of another one, 2 500 to 16 000 words each."""
OVERLAP = 2
"""Number of windows that contain each word, except at the ends."""
STRETCH = 10
"""Number of adjacent windows of which the last ones are the test part. The end of a topic covers other
subjects than the text before it, which a model could not have learned."""


def load_python_topics(**form: Any) -> Dataset:
    """Return windows of words of CPython's help topics, each labeled with its topic, one of ten.

    form: the fields of `TextForm`; the defaults are test_fraction 0.2 and sequence_length 64. The last words of
    each section of ten windows are the test part, and no window spans both parts. x: (n,
    sequence_length) int32; y: (n,) int32, the topic. The texts vary by Python version.
    """
    from pydoc_data.topics import topics

    given = TextForm(**{"test_fraction": 0.2, "sequence_length": 64, **form})
    missing = [name for name in TOPICS if name not in topics]
    if missing:
        raise DataError(f"Cannot load 'python-topics': this Python's help has no topic {missing[0]!r}.")
    stretches = [_stretches(tokenize(topics[name]), given) for name in TOPICS]
    vocabulary = given.vocabulary
    if vocabulary is None:
        learned = (word for parts in stretches for train, _ in parts for word in train)
        vocabulary = build_vocabulary(learned, given.vocabulary_size or 1000)
    vocabulary = tuple(vocabulary)
    train, test = ([[encode(part[half], vocabulary) for part in parts] for parts in stretches] for half in (0, 1))
    text = "\n".join(topics[name] for name in TOPICS)
    origin = {
        "source": "pydoc_data.topics of CPython",
        "python": platform.python_version(),
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "tokens": sum(len(part) for parts in (*train, *test) for part in parts),
        "vocabulary": len(vocabulary),
        "unknown_share": _unknown_share(train),
        "test_unknown_share": _unknown_share(test),
        "sequence_length": given.sequence_length,
        "test_fraction": given.test_fraction,
    }
    train, test = (_split(half, given.sequence_length, vocabulary) for half in (train, test))
    return Dataset("python-topics", "text", train, test, origin)


def _stretches(words: list[str], form: TextForm) -> list[tuple[list[str], list[str]]]:
    """Split the words of a topic into sections, each with a training and a test part."""
    count = max(1, len(words) // (STRETCH * form.sequence_length))
    ends = [round(number * len(words) / count) for number in range(count + 1)]
    found: list[tuple[list[str], list[str]]] = []
    for first, last in pairwise(ends):
        middle = last - int((last - first) * form.test_fraction)
        if min(middle - first, last - middle) < form.sequence_length:
            raise DataError(
                f"Cannot split 'python-topics' into windows of {form.sequence_length} words: its shortest part has "
                f"{min(middle - first, last - middle)}. Use a smaller sequence_length, or a test_fraction closer to a "
                "half."
            )
        found.append((words[first:middle], words[middle:last]))
    return found


def _split(topics: list[list[np.ndarray]], length: int, vocabulary: tuple[str, ...]) -> Split:
    """Return overlapping windows of the parts of each topic, with the index of the topic."""
    step = max(1, length // OVERLAP)
    x: list[np.ndarray] = []
    y: list[np.ndarray] = []
    for label, parts in enumerate(topics):
        for part in parts:
            x.append(np.lib.stride_tricks.sliding_window_view(part, length)[::step])
            y.append(np.full(len(x[-1]), label, dtype=np.int32))
    return Split(np.concatenate(x), np.concatenate(y), class_names=TOPICS, vocabulary=vocabulary)


def _unknown_share(topics: list[list[np.ndarray]]) -> float:
    tokens = np.concatenate([part for parts in topics for part in parts])
    return round(float(np.mean(tokens == UNKNOWN)), 6)
