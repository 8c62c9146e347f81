"""Text as tokens and tokens as text: the same few rules for training, for generating and for streaming."""

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
"""No token of a text: "<unk>" in a text is read as the three tokens "<", "unk" and ">"."""

# What belongs to the character before it and is no character of its own: accents, vowel signs, joiners (WB4 of Unicode
# Standard Annex 29, "Unicode Text Segmentation"). Python's own `re` counts none of them as part of a word.
_ATTACHED = r"[\p{Word_Break=Extend}\p{Word_Break=Format}\p{Word_Break=ZWJ}]*"
_LETTERS = rf"(?:[\p{{L}}\p{{Nl}}\p{{No}}]{_ATTACHED})+"
_TOKEN = regex.compile(
    rf"{_LETTERS}(?:['’״]{_LETTERS})*"  # a word, with the apostrophes inside it: don't
    rf"|(?:\p{{Nd}}{_ATTACHED})+"
    r"|(?![\s\x1c-\x1f])\X",  # one sign, of as many code points as it takes: an emoji with its colour
    regex.VERSION1,
)
# An underscore joins names more often than it starts one: in the Python documentation 684 times to 37.
_NO_SPACE_BEFORE = frozenset(".,;:!?)]}%…-_/।॥،؛؟。，、！？：；）］】》」』")
_NO_SPACE_AFTER = frozenset("([{-_/（［【《「『¿¡")


def tokenize(text: str) -> list[str]:
    """Cut text into lower-case words, numbers and single signs; white space is dropped.

    Words end where letters do. The marks that belong to a letter stay with it, in every script, and so do the code
    points that make one emoji. What is written without spaces between its words, such as Chinese, Japanese and Thai,
    is not cut into words: cut it before with a program made for the language, and put spaces between them.
    """
    # NFC makes one token of the two ways to write an accented letter; after lower(), which can take it apart.
    return _TOKEN.findall(unicodedata.normalize("NFC", text.lower()))


def spacing(previous: str, token: str) -> str:
    """Return what goes between two tokens, "" or " ", so that text can be written token by token.

    previous: "" at the start. The rules never fuse two tokens: `tokenize` reads back what `join` wrote.
    """
    if not previous:
        return ""
    repeated_sign = token == previous and not token[0].isalnum()
    if repeated_sign or token in _NO_SPACE_BEFORE or previous in _NO_SPACE_AFTER:
        written = previous + token
        # Of other scripts some signs take in the next one, as two halves of a flag do.
        return "" if written.isascii() or _TOKEN.findall(written) == [previous, token] else " "
    return " "


def join(tokens: Iterable[str]) -> str:
    """Write tokens as text: no space before a full stop or a closing bracket, none around hyphens."""
    pieces: list[str] = []
    previous = ""
    for token in tokens:
        pieces += (spacing(previous, token), token)
        previous = token
    return "".join(pieces)


def build_vocabulary(tokens: Iterable[str], size: int) -> tuple[str, ...]:
    """Return the word of each token number: padding, unknown, then the most frequent, ties in order.

    It is shorter than `size` if the text has fewer different words.
    """
    if size < 3:
        raise UsageError(f"A vocabulary holds padding, unknown and at least one word: size >= 3, not {size}.")
    counted = sorted(Counter(tokens).items(), key=lambda item: (-item[1], item[0]))
    return (PADDING_WORD, UNKNOWN_WORD, *(word for word, _ in counted[: size - 2]))


def encode(tokens: Iterable[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Return the numbers of tokens as (n,) int32; what the vocabulary lacks is UNKNOWN."""
    numbers = {word: number for number, word in enumerate(vocabulary)}
    return np.fromiter((numbers.get(token, UNKNOWN) for token in tokens), dtype=np.int32)


def windows(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every run of `length` tokens, (n, length), and the token that follows each, (n,)."""
    if length < 1:
        raise UsageError(f"A window has at least 1 token, not {length}.")
    if len(tokens) <= length:
        raise DataError(
            f"{len(tokens)} tokens are too few for a window of {length} and the token that follows: at least "
            f"{length + 1} are needed. Take a longer text or a smaller sequence_length."
        )
    runs = np.lib.stride_tricks.sliding_window_view(tokens, length)[:-1]
    # Copies, since the runs are read-only and overlap in memory.
    return runs.copy(), tokens[length:].copy()
