"""Tokenizers of pretrained models: from a text to the ids that the weights were trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from unidl.errors import DataError
from unidl.hub import keras_hub
from unidl.shortening import shown

SETTINGS = {
    "WordPieceTokenizer": ("lowercase", "strip_accents", "split", "split_on_cjk", "suffix_indicator", "oov_token"),
    "BytePairTokenizer": ("merges", "add_prefix_space", "unsplittable_tokens"),
}
"""The kinds of KerasHub's tokenizers that can be kept as JSON, and what each needs beside its vocabulary."""
LISTS = ("merges", "unsplittable_tokens")
TOKENS, SEGMENTS, MASK = "token_ids", "segment_ids", "padding_mask"
INPUTS = (TOKENS, SEGMENTS, MASK)
USUAL_LENGTH = 128
"""Most ids in a row by default: attention takes the square of it."""


@dataclass(frozen=True)
class Tokenizer:
    """What turns texts into the inputs of a pretrained model.

    Args:
        kind: The class of KerasHub whose rules it follows: "WordPieceTokenizer" or "BytePairTokenizer".
        vocabulary: The piece of text of each id.
        settings: The arguments of that class beside the vocabulary, as JSON values.
        start: The id before each text; None for none.
        end: The id after each text; None for none.
        padding: The id that fills up a row.
        inputs: The names of the model's inputs, of "token_ids", "segment_ids" and "padding_mask".
        sequence_length: The ids in each row; longer texts take several rows at prediction, and are cut in training.
        longest: The most ids that the model reads at once.

    Raises:
        DataError: If a value cannot be used.

    Examples:
        >>> from unidl.data.tokenizer import Tokenizer
        >>> pieces = ("[PAD]", "[UNK]", "a", "b", "##c")
        >>> tokenizer = Tokenizer("WordPieceTokenizer", pieces, inputs=("token_ids",), sequence_length=4)
        >>> tokenizer.padding
        0
    """

    kind: str
    vocabulary: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    start: int | None = None
    end: int | None = None
    padding: int = 0
    inputs: tuple[str, ...] = INPUTS
    sequence_length: int = 128
    longest: int = 512

    def __post_init__(self) -> None:
        size = len(self.vocabulary)
        if self.kind not in SETTINGS or not set(self.settings) <= set(SETTINGS[self.kind]):
            raise DataError(f"A tokenizer is of the kind {' or '.join(SETTINGS)}, not {shown(self.kind)}.")
        for name, value in self.settings.items():
            # A word in place of a list would be the path of a file to read.
            if not (_is_words(value) if name in LISTS else isinstance(value, bool | str)):
                raise DataError(f"The setting {name} of a tokenizer cannot be {shown(value)}.")
        for name in ("start", "end", "padding"):
            number: Any = getattr(self, name)
            if not (number is None and name != "padding") and not (_is_whole(number) and number in range(size)):
                raise DataError(f"{name} must be one of the {size} ids of the vocabulary, not {shown(number)}.")
        if not set(self.inputs) <= set(INPUTS) or TOKENS not in self.inputs:
            raise DataError(f"The inputs of a model of texts are some of {', '.join(INPUTS)}, not {self.inputs}.")
        for name in ("sequence_length", "longest"):
            if not _is_whole(getattr(self, name)) or getattr(self, name) <= self._marks:
                raise DataError(f"{name} must be above {self._marks}, not {shown(getattr(self, name))}.")

    @classmethod
    def of(cls, tokenizer: Any, inputs: Sequence[str], longest: int) -> Tokenizer:
        """Return a tokenizer of KerasHub as a value that can be kept. Raises `DataError` for a kind that cannot."""
        hub = keras_hub()
        kind = next((kind for kind in SETTINGS if isinstance(tokenizer, getattr(hub.tokenizers, kind))), None)
        if kind is None:
            raise DataError(
                f"The tokenizer {type(tokenizer).__name__} cannot be kept with a model: it is neither a "
                f"{' nor a '.join(SETTINGS)}. Tokenize the texts yourself, and train on the ids."
            )
        vocabulary = tokenizer.vocabulary
        if isinstance(vocabulary, Mapping):
            by_id = {number: piece for piece, number in vocabulary.items()}
            if sorted(by_id) != list(range(len(by_id))):
                raise DataError(f"The ids of the {type(tokenizer).__name__} are not the whole numbers from 0 on.")
            vocabulary = [by_id[number] for number in range(len(by_id))]
        settings = {name: getattr(tokenizer, name) for name in SETTINGS[kind]}
        if "unsplittable_tokens" in settings:  # of which KerasHub keeps no order
            settings["unsplittable_tokens"] = sorted(settings["unsplittable_tokens"] or ())
        marks = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("start", "end", "pad")}
        return cls(
            kind,
            tuple(vocabulary),
            {name: list(value) if name in LISTS else value for name, value in settings.items()},
            marks["start"],
            marks["end"],
            marks["pad"] or 0,
            tuple(name for name in INPUTS if name in inputs),
            min(USUAL_LENGTH, longest),
            longest,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the value that `from_json` reads."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, values: Any) -> Tokenizer:
        """Return the tokenizer that `to_json` described. Raises `DataError` if it is not one."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(values, dict) or set(values) != known:
            raise DataError(f"the description of a tokenizer must have exactly {', '.join(sorted(known))}")
        for name in ("vocabulary", "inputs"):
            if not isinstance(values[name], list) or not all(isinstance(word, str) for word in values[name]):
                raise DataError(f"the {name} of a tokenizer must be a list of strings")
        if not isinstance(values["settings"], dict):
            raise DataError("the settings of a tokenizer must be an object")
        return cls(**{**values, "vocabulary": tuple(values["vocabulary"]), "inputs": tuple(values["inputs"])})

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without those of start, end and padding."""
        return [[int(number) for number in row] for row in self._made(list(texts))]

    def rows(self, texts: Sequence[Sequence[int]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return inputs of shape (texts, sequence_length) for the ids of texts; what is too long is cut off."""
        tokens = np.full((len(texts), self.sequence_length), self.padding, np.int32)
        mask = np.zeros_like(tokens)
        before = [] if self.start is None else [self.start]
        after = [] if self.end is None else [self.end]
        for row, ids in enumerate(texts):
            whole = [*before, *ids[: self.sequence_length - self._marks], *after]
            tokens[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        made = {TOKENS: tokens, SEGMENTS: np.zeros_like(tokens), MASK: mask}
        return {name: made[name] for name in self.inputs}

    def parts(self, ids: Sequence[int]) -> list[Sequence[int]]:
        """Return the ids of a text as parts, each of which fits into a row."""
        length = self.sequence_length - self._marks
        return [ids[first : first + length] for first in range(0, max(len(ids), 1), length)]

    def fitted(self, texts: Sequence[Sequence[int]]) -> Tokenizer:
        """Return it with rows as long as the longest of these texts, to a multiple of 8, and not longer than now."""
        longest = max(map(len, texts)) + self._marks
        return replace(self, sequence_length=min(self.sequence_length, -(-longest // 8) * 8))

    def of_length(self, sequence_length: int) -> Tokenizer:
        """Return it with rows of so many ids, if the model can read them. Raises `DataError` if it cannot."""
        if sequence_length > self.longest:
            raise DataError(f"sequence_length must be at most {self.longest} for this model, not {sequence_length}.")
        return replace(self, sequence_length=sequence_length)

    @property
    def _marks(self) -> int:
        return (self.start is not None) + (self.end is not None)

    @cached_property
    def _made(self) -> Any:
        """The tokenizer of KerasHub, which computes with Python and NumPy alone."""
        vocabulary: Any = list(self.vocabulary)
        if self.kind == "BytePairTokenizer":
            vocabulary = {piece: number for number, piece in enumerate(self.vocabulary)}
        try:
            return getattr(keras_hub().tokenizers, self.kind)(vocabulary=vocabulary, **self.settings)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"Cannot make the {self.kind} of these pieces: {error}") from error


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
