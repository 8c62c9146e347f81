"""A data set of text with classes: which topic of the Python documentation a few words come from."""

from __future__ import annotations

import hashlib
import platform
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
"""The ten longest of CPython's help topics that are no part of another one, 2 500 to 16 000 words each."""
OVERLAP = 4
"""Of so many windows each word is a part, but for those at the ends."""


def load_python_topics(**form: Any) -> Dataset:
    """Return windows of words of CPython's own help topics, each with the topic that it comes from, one of ten.

    form: the fields of `TextForm`; test_fraction is 0.2 and sequence_length 64 if not said. The last words of each
    topic are the test part, and no window reaches from one part into the other. x: (n, sequence_length) int32;
    y: (n,) int32, the topic. The texts vary by Python version.
    """
    from pydoc_data.topics import topics

    given = TextForm(**{"test_fraction": 0.2, "sequence_length": 64, **form})
    missing = [name for name in TOPICS if name not in topics]
    if missing:
        raise DataError(f"Cannot load 'python-topics': this Python's help has no topic {missing[0]!r}.")
    words = {name: tokenize(topics[name]) for name in TOPICS}
    first = {name: len(words[name]) - int(len(words[name]) * given.test_fraction) for name in TOPICS}
    vocabulary = given.vocabulary
    if vocabulary is None:
        learned = (word for name in TOPICS for word in words[name][: first[name]])
        vocabulary = build_vocabulary(learned, given.vocabulary_size or 1000)
    vocabulary = tuple(vocabulary)
    tokens = {name: encode(words[name], vocabulary) for name in TOPICS}
    train = _split([tokens[name][: first[name]] for name in TOPICS], given.sequence_length, vocabulary)
    test = _split([tokens[name][first[name] :] for name in TOPICS], given.sequence_length, vocabulary)
    text = "\n".join(topics[name] for name in TOPICS)
    origin = {
        "source": "pydoc_data.topics of CPython",
        "python": platform.python_version(),
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "tokens": sum(map(len, words.values())),
        "vocabulary": len(vocabulary),
        "unknown_share": round(float(np.mean(np.concatenate(list(tokens.values())) == UNKNOWN)), 6),
        "sequence_length": given.sequence_length,
        "test_fraction": given.test_fraction,
    }
    return Dataset("python-topics", "text", train, test, origin)


def _split(parts: list[np.ndarray], length: int, vocabulary: tuple[str, ...]) -> Split:
    """Overlapping windows of each part, with the number of the part."""
    shortest = min(map(len, parts))
    if shortest < length:
        raise DataError(
            f"Cannot cut 'python-topics' into windows of {length} words: one of the parts has {shortest}. Take a "
            "smaller sequence_length, or a test_fraction nearer to a half."
        )
    step = max(1, length // OVERLAP)
    windows = [np.lib.stride_tricks.sliding_window_view(part, length)[::step] for part in parts]
    labels = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in windows])
    return Split(np.concatenate(windows), labels, class_names=TOPICS, vocabulary=vocabulary)
