"""Conversion of text to tokens and back, with the same rules for training, generation and streaming."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import regex

from unidl.errors import DataError, UsageError

PADDING = 0
UNKNOWN = 1
PADDING_WORD = "<pad>"
UNKNOWN_WORD = "<unk>"
"""Never a token of a text: "<unk>" in a text is tokenized as "<", "unk" and ">"."""

# Code points that belong to the preceding character: accents, vowel signs, joiners (WB4 of Unicode
# Standard Annex 29, "Unicode Text Segmentation"). Python's `re` does not treat them as parts of a word.
_ATTACHED = r"[\p{Word_Break=Extend}\p{Word_Break=Format}\p{Word_Break=ZWJ}]*"
_LETTERS = rf"(?:[\p{{L}}\p{{Nl}}\p{{No}}]{_ATTACHED})+"
_TOKEN = regex.compile(
    rf"{_LETTERS}(?:['’״]{_LETTERS})*"  # a word, with the apostrophes inside it: don't
    rf"|(?:\p{{Nd}}{_ATTACHED})+"
    r"|(?![\s\x1c-\x1f])\X",  # one symbol of any number of code points, such as an emoji with a skin tone
    regex.VERSION1,
)
# An underscore joins parts of a name more often than it starts one: 684 to 37 times in the Python documentation.
_NO_SPACE_BEFORE = frozenset(".,;:!?)]}%…-_/।॥،؛؟。，、！？：；）］】》」』")
_NO_SPACE_AFTER = frozenset("([{-_/（［【《「『¿¡")


def tokenize(text: str) -> list[str]:
    """Split text into lower-case words, numbers and single symbols; white space is dropped.

    Words consist of letters. Combining marks stay with their letter in every script, and so do the code
    points of one emoji. Text written without spaces between words, such as Chinese, Japanese and Thai,
    is not split into words: segment it first with a tool for the language, and separate the words by spaces.
    """
    # NFC unifies the two encodings of an accented letter; applied after lower(), which can decompose it.
    return _TOKEN.findall(unicodedata.normalize("NFC", text.lower()))


def spacing(previous: str, token: str) -> str:
    """Return the separator between two tokens, "" or " ", so that text can be written token by token.

    previous: "" at the start. The rules never merge two tokens: `tokenize` inverts `join`.
    """
    if not previous:
        return ""
    repeated_sign = token == previous and not token[0].isalnum()
    if repeated_sign or token in _NO_SPACE_BEFORE or previous in _NO_SPACE_AFTER:
        written = previous + token
        # Some symbols combine with the next one, such as the two halves of a flag.
        return "" if written.isascii() or _TOKEN.findall(written) == [previous, token] else " "
    return " "


def join(tokens: Iterable[str]) -> str:
    """Join tokens to text: no space before a full stop or a closing bracket, none around hyphens."""
    pieces: list[str] = []
    previous = ""
    for token in tokens:
        pieces += (spacing(previous, token), token)
        previous = token
    return "".join(pieces)


def build_vocabulary(tokens: Iterable[str], size: int) -> tuple[str, ...]:
    """Return the word of each token index: padding, unknown, then words by frequency, ties in order of appearance.

    It is shorter than `size` if the text has fewer different words.
    """
    if size < 3:
        raise UsageError(
            f"A vocabulary contains padding, unknown and at least one word: size must be at least 3, not {size}."
        )
    counted = sorted(Counter(tokens).items(), key=lambda item: (-item[1], item[0]))
    return (PADDING_WORD, UNKNOWN_WORD, *(word for word, _ in counted[: size - 2]))


def encode(tokens: Iterable[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Return the indices of tokens as (n,) int32; tokens not in the vocabulary become UNKNOWN."""
    numbers = {word: number for number, word in enumerate(vocabulary)}
    return np.fromiter((numbers.get(token, UNKNOWN) for token in tokens), dtype=np.int32)


def windows(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every window of `length` tokens, (n, length), and the token after each, (n,)."""
    if length < 1:
        raise UsageError(f"A window must have at least 1 token, not {length}.")
    if len(tokens) <= length:
        raise DataError(
            f"{len(tokens)} tokens are too few for a window of {length} and the following token: at least "
            f"{length + 1} are needed. Use a longer text or a smaller sequence_length."
        )
    runs = np.lib.stride_tricks.sliding_window_view(tokens, length)[:-1]
    # Copies, since the windows are read-only and overlap in memory.
    return runs.copy(), tokens[length:].copy()
