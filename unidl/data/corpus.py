"""Text data sets: windows of tokens, each with the following token."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.dataset import Dataset, Split
from unidl.data.splitting import check_fraction
from unidl.data.text import (
    PADDING_WORD,
    UNKNOWN,
    UNKNOWN_WORD,
    build_vocabulary,
    encode,
    tokenize,
    windows,
)
from unidl.errors import DataError, UsageError
from unidl.shortening import shown

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tex", ".html", ".py")


@dataclass(frozen=True)
class TextForm:
    """How a text is split into windows. vocabulary: words, such as a trained model's; None builds it from the training
    part."""

    test_fraction: float = 0.1
    vocabulary_size: int | None = None
    vocabulary: Sequence[str] | None = None
    sequence_length: int = 20

    def __post_init__(self) -> None:
        check_fraction(self.test_fraction)
        if self.vocabulary is None:
            return
        if self.vocabulary_size is not None:
            raise UsageError("vocabulary and vocabulary_size are mutually exclusive. Leave vocabulary_size out.")
        words = [PADDING_WORD, UNKNOWN_WORD]
        # Check the type first: == on arrays returns an array.
        given = [word if isinstance(word, str) else None for word in self.vocabulary[:2]]
        if isinstance(self.vocabulary, str) or given != words:
            raise UsageError(
                f"vocabulary must be a list of words that starts with {tuple(words)}, not {shown(self.vocabulary[:2])}."
            )


def load_python_docs(**form: Any) -> Dataset:
    """Return CPython's own help topics, about 465 000 characters of English; they vary by Python version.

    form: the fields of `TextForm`.
    """
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    source = {"source": "pydoc_data.topics of CPython", "python": platform.python_version()}
    return text_dataset("python-docs", text, source, TextForm(**form))


def load_text(path: Path, **form: Any) -> Dataset:
    """Return the text of a UTF-8 file. form: the fields of `TextForm`.

    Raises `DataError` if the file is not UTF-8 or too short.
    """
    return text_dataset(path.name, read_text(path), {"source": str(path)}, TextForm(**form))


def read_text(path: Path) -> str:
    """Return what a text file holds. Raises `DataError` if it is not UTF-8, or cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}. "
            "Save it as UTF-8 and try again."
        ) from error
    except OSError as error:
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error


def text_dataset(name: str, text: str, source: Mapping[str, Any], form: TextForm) -> Dataset:
    """Split a text into training and test windows.

    The last tokens are the test part; the vocabulary is built without them. x: (n, sequence_length) int32;
    y: (n,) int32, the next token.
    """
    words = tokenize(text)
    length = form.sequence_length
    needed = _tokens_needed(form.test_fraction, length)
    if len(words) < needed:
        raise DataError(
            f"'{name}' is too short: it has {len(words)} tokens (words, numbers and signs), and with "
            f"sequence_length={length} and test_fraction={form.test_fraction:g} at least {needed} are "
            "needed. Use a longer text or a smaller sequence_length."
        )
    first_held_out = len(words) - _held_out(len(words), form.test_fraction)
    if form.vocabulary is None:
        vocabulary = build_vocabulary(words[:first_held_out], form.vocabulary_size or 1000)
    else:
        vocabulary = tuple(form.vocabulary)
    tokens = encode(words, vocabulary)
    origin = {
        **source,
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "characters": len(text),
        "tokens": len(words),
        "vocabulary": len(vocabulary),
        "unknown_share": _unknown_share(tokens[:first_held_out]),
        "test_unknown_share": _unknown_share(tokens[first_held_out:]),
        "sequence_length": length,
        "test_fraction": form.test_fraction,
    }
    train = Split(*windows(tokens[:first_held_out], length), vocabulary=vocabulary)
    test = Split(*windows(tokens[first_held_out:], length), vocabulary=vocabulary)
    return Dataset(name, "text", train, test, origin)


def _unknown_share(tokens: np.ndarray) -> float:
    return round(float(np.mean(tokens == UNKNOWN)), 6)


def _held_out(count: int, test_fraction: float) -> int:
    # The small term keeps 0.29 * 100, slightly below 29 in binary, from losing a token.
    return int(count * test_fraction + 1e-9)


def _tokens_needed(test_fraction: float, sequence_length: int) -> int:
    """Return the minimum length for which both parts contain at least one window and the following token."""
    count = math.ceil((sequence_length + 1) / min(test_fraction, 1 - test_fraction) - 1e-9)
    while min(_held_out(count, test_fraction), count - _held_out(count, test_fraction)) <= sequence_length:
        count += 1
    return count
