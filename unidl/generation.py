"""Text generation with a trained language model, word by word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.text import PADDING, UNKNOWN, encode, join, spacing, tokenize
from unidl.errors import ModelError, UsageError
from unidl.generation_windows import windows_of
from unidl.models.records import record_of
from unidl.random import stream
from unidl.shortening import shown

if TYPE_CHECKING:
    import keras

Probabilities = np.ndarray[Any, np.dtype[np.float64]]

LARGEST_ERROR_OF_A_SUM = 0.05
"""Allowed deviation of the sum of probabilities from 1; a softmax over ten thousand words in bfloat16 deviates less."""


@dataclass(frozen=True)
class Draws:
    """Sampling settings: the arguments of `generate_text` of the same names. Raises `UsageError`."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (_is_number(self.temperature) and math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"Cannot use temperature={shown(self.temperature)}: it must be a number of at least 0.")
        if self.top_k is not None and not (_is_whole(self.top_k) and self.top_k >= 1):
            raise UsageError(f"Cannot use top_k={shown(self.top_k)}: it must be a whole number of at least 1.")
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise UsageError(f"Cannot use top_p={shown(self.top_p)}: it must be a number above 0 and at most 1.")
        if not _is_whole(self.seed):
            raise UsageError(f"Cannot use seed={shown(self.seed)}: it must be a whole number.")


def generate_text(
    model: keras.Model,
    prompt: str,
    *,
    words: int = 50,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    vocabulary: Sequence[str] | None = None,
) -> str:
    """Return a prompt, continued by words drawn from a language model.

    Args:
        model: A language model: it takes tokens (batch, time) and gives probabilities (batch, words) of the next token,
            or (batch, time, words) of the next token after each step.
        prompt: The text to continue, at least one word.
        words: Number of words to add; numbers and signs count as words.
        temperature: Values below 1 prefer likely words, values above 1 give unlikely words more weight, and 0 always
            takes the most likely word.
        top_k: Draw only from the k most likely words. If None, from all words.
        top_p: Draw only from the fewest words that together have probability p, above 0 and at most 1. If None, from
            all words.
        seed: The same seed gives the same draws on every backend.
        vocabulary: The word of each token; needed only for a model that unidl neither trained nor loaded.

    Returns:
        The text, which begins with the prompt.

    Raises:
        UsageError: If an argument is out of range.
        ModelError: If the model does not predict words.

    Examples:
        >>> import unidl
        >>> words = ("<pad>", "<unk>", "to", "be", "or", "not")
        >>> model = unidl.build_lstm(vocabulary_size=6, sequence_length=4, units=4, embedding_size=4)
        >>> text = unidl.generate_text(model, "To be", words=3, vocabulary=words)
        >>> text.startswith("to be "), len(text.split())
        (True, 5)
    """
    pieces = stream_text(
        model,
        prompt,
        words=words,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        vocabulary=vocabulary,
    )
    return "".join(pieces)


def stream_text(
    model: keras.Model,
    prompt: str,
    *,
    words: int = 50,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    vocabulary: Sequence[str] | None = None,
) -> Iterator[str]:
    """Yield the text of `generate_text` in pieces: the prompt, then each word with the space before it."""
    draws = Draws(temperature, top_k, top_p, seed)
    if not (_is_whole(words) and words >= 0):
        raise UsageError(f"Cannot use words={shown(words)}: it must be a whole number of at least 0.")
    known = tuple(vocabulary or record_of(model).vocabulary)
    _require_language_model(model, known)
    tokens = tokenize(prompt)
    if not tokens:
        raise UsageError(f"Cannot start from prompt={shown(prompt)}: it contains no words.")
    return _pieces(_Predictor(model, len(known)), tokens, known, words, draws)


def choose(probabilities: Probabilities, draw: float, draws: Draws) -> int:
    """Return the token selected by `draw`, in [0, 1); never padding or the unknown word.

    probabilities: (vocabulary,). Tokens are ordered from likely to unlikely, so that a rounding difference between
    backends moves a boundary but not the order. top_p is nucleus sampling (Holtzman et al., 2020). Raises `ModelError`
    if no word has a positive probability.
    """
    allowed = np.array(probabilities, dtype=np.float64)
    allowed[[PADDING, UNKNOWN]] = 0.0
    if not (np.isfinite(allowed).all() and allowed.min() >= 0 and allowed.max() > 0):
        raise ModelError(
            "No word has a positive probability: the outputs of the model are NaN, infinite, negative or all zero.\n"
            "Train it again with a lower learning rate; the last layer must be a softmax."
        )
    order = np.argsort(-allowed, kind="stable")
    order = order[: np.count_nonzero(allowed)]
    if draws.temperature == 0:
        return int(order[0])
    logarithms = np.log(allowed[order])
    with np.errstate(over="ignore"):  # for a temperature near 0, all but the most likely words get weight 0
        weights = np.exp((logarithms - logarithms[0]) / draws.temperature)
    weights = weights[: draws.top_k]
    if draws.top_p is not None:
        before = np.cumsum(weights) - weights
        weights = weights[before < draws.top_p * weights.sum()]
    edges = np.cumsum(weights)
    place = np.searchsorted(edges, draw * edges[-1], side="right")
    # The product may round up to the last edge; there are no words after it, and words of weight 0 are excluded.
    return int(order[min(place, np.flatnonzero(weights)[-1])])


def token_draw(seed: int, position: int) -> float:
    """Return the draw, in [0, 1), for the generated token at this position; the same on every backend."""
    return float(stream(seed, "generated token", position).random())


class _Predictor:
    """Computes probabilities of the next token, one window at a time, with the adapter's compiled prediction."""

    def __init__(self, model: keras.Model, words: int) -> None:
        self._windows = windows_of(model)
        self._words = words

    def next_word(self, tokens: Sequence[int]) -> Probabilities:
        """Return the probabilities. tokens: all so far; a model of fixed length sees the last ones, padded on the
        left."""
        probabilities = self._windows.after(tokens)
        if abs(probabilities.sum() - 1) > LARGEST_ERROR_OF_A_SUM:
            raise ModelError(
                f"The outputs of the model are not probabilities: their sum is {probabilities.sum():.4g} instead of "
                f"1.\n"
                "The last layer of a model that generates text must be a softmax."
            )
        return probabilities[: self._words]  # a model may have more outputs than there are words


def _pieces(
    predictor: _Predictor, tokens: list[str], vocabulary: tuple[str, ...], words: int, draws: Draws
) -> Iterator[str]:
    yield join(tokens)
    numbers = encode(tokens, vocabulary).tolist()
    previous = tokens[-1]
    for position in range(words):
        token = choose(predictor.next_word(numbers), token_draw(draws.seed, position), draws)
        numbers.append(token)
        yield spacing(previous, vocabulary[token]) + vocabulary[token]
        previous = vocabulary[token]


def _require_language_model(model: keras.Model, vocabulary: tuple[str, ...]) -> None:
    if not vocabulary:
        raise ModelError(
            f"The model '{model.name}' has no vocabulary: it was not trained on text by unidl.\n"
            "Train one with `unidl train lstm`, or pass vocabulary=, the list of words by token."
        )
    inputs: Any = getattr(model, "input_shape", None)
    outputs: Any = getattr(model, "output_shape", None)
    if not (_is_shape(inputs, (2,)) and _is_shape(outputs, (2, 3))):
        raise ModelError(
            f"The model '{model.name}' is not a language model, which maps tokens (batch, time) to probabilities "
            f"(batch, words) or (batch, time, words): it has inputs {inputs} and outputs {outputs}."
        )
    if outputs[-1] < len(vocabulary):
        raise ModelError(
            f"The model '{model.name}' predicts {outputs[-1]} tokens, but the vocabulary has {len(vocabulary)} words."
        )


def _is_shape(shape: Any, ranks: tuple[int, ...]) -> bool:
    """Return whether this is the shape of one tensor; a model may have several, or none before it is built."""
    return isinstance(shape, tuple) and len(shape) in ranks and not any(isinstance(side, tuple) for side in shape)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating) or _is_whole(value)
