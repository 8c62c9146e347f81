"""Text from a trained language model, word by word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl import devices, registry
from unidl.backend import Batches, Chunk, Trains
from unidl.data.text import PADDING, UNKNOWN, encode, join, spacing, tokenize
from unidl.errors import BackendError, ModelError, UsageError
from unidl.models.records import record_of
from unidl.random import stream

if TYPE_CHECKING:
    import keras

Probabilities = np.ndarray[Any, np.dtype[np.float64]]


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
    """Return `prompt` and `words` more words (numbers and signs count as words) that the model finds likely.

    temperature: below 1 keeps to likely words, above 1 wanders, 0 always takes the likeliest. top_k, top_p: draw only
    from the k likeliest words, or from the fewest that together have probability p. vocabulary: needed only for a
    model that unidl neither trained nor loaded. The same seed gives the same draws on every backend.

    Raises `UsageError` for an argument out of range, and `ModelError` if the model predicts no words.
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
    """Yield what `generate_text` returns in pieces: the prompt, then each word with the space before it."""
    known = tuple(vocabulary or record_of(model).vocabulary)
    _check(model, known, words, temperature, top_k, top_p)
    tokens = tokenize(prompt)
    if not tokens:
        raise UsageError(f"Cannot start from prompt={prompt!r}: it has no word to go on from.")
    return _pieces(_Predictor(model), tokens, known, words, seed, temperature, top_k, top_p)


def choose(
    probabilities: Probabilities, draw: float, *, temperature: float, top_k: int | None, top_p: float | None
) -> int:
    """Return the token that `draw`, from 0 up to 1, falls on; never padding and never the unknown word.

    probabilities: (vocabulary,). Tokens are laid out from likely to unlikely, so that a rounding difference between
    backends moves a boundary and not the order. top_p is nucleus sampling (Holtzman et al., 2020).
    """
    allowed = np.array(probabilities, dtype=np.float64)
    allowed[[PADDING, UNKNOWN]] = 0.0
    order = np.argsort(-allowed, kind="stable")
    if temperature == 0:
        return int(order[0])
    likely = allowed[order]
    with np.errstate(divide="ignore"):
        logarithms = np.log(likely) / temperature
    weights = np.exp(logarithms - logarithms[0])
    weights[likely == 0] = 0.0
    if top_k is not None:
        weights[top_k:] = 0.0
    if top_p is not None:
        before = np.cumsum(weights) - weights
        weights[before >= top_p * weights.sum()] = 0.0
    edges = np.cumsum(weights)
    return int(order[np.searchsorted(edges, draw * edges[-1], side="right")])


class _Predictor:
    """The probabilities of the next token, one window at a time, through the adapter's compiled prediction."""

    def __init__(self, model: keras.Model) -> None:
        backend = registry.current()
        if not isinstance(backend, Trains):
            raise BackendError(f"Backend '{backend.name}' cannot run a model: its adapter has no compile_loop.")
        self._backend = backend
        self._device = devices.resolve().device
        self._loop = backend.compile_loop(model, device=self._device)
        self._length = model.input_shape[1]

    def next_word(self, tokens: Sequence[int]) -> Probabilities:
        """tokens: all so far; a model of fixed length sees the last of them, padded on the left."""
        window = list(tokens[-self._length :]) if self._length else list(tokens)
        window = [PADDING] * ((self._length or 0) - len(window)) + window
        chunk = Chunk(Batches(np.array([window], dtype=np.int32)), np.zeros((1, 1), dtype=np.int64))
        with self._backend.on(self._device):
            outputs = self._loop.predict(chunk)
        return np.asarray(outputs, dtype=np.float64).reshape(-1, outputs.shape[-1])[-1]


def _pieces(
    predictor: _Predictor,
    tokens: list[str],
    vocabulary: tuple[str, ...],
    words: int,
    seed: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> Iterator[str]:
    yield join(tokens)
    numbers = encode(tokens, vocabulary).tolist()
    previous = tokens[-1]
    for position in range(words):
        draw = stream(seed, "generated token", position).random()
        token = choose(predictor.next_word(numbers), draw, temperature=temperature, top_k=top_k, top_p=top_p)
        numbers.append(token)
        yield spacing(previous, vocabulary[token]) + vocabulary[token]
        previous = vocabulary[token]


def _check(
    model: keras.Model,
    vocabulary: tuple[str, ...],
    words: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    if words < 0:
        raise UsageError(f"Cannot use words={words}: it must be 0 or more.")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UsageError(f"Cannot use temperature={temperature}: it must be a number from 0.")
    if top_k is not None and top_k < 1:
        raise UsageError(f"Cannot use top_k={top_k}: it must be at least 1.")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"Cannot use top_p={top_p}: it must be above 0 and at most 1.")
    if not vocabulary:
        raise ModelError(
            f"The model '{model.name}' has no vocabulary: it was not trained on text by unidl.\n"
            "Train one with `unidl train lstm`, or pass vocabulary=, the word of each token."
        )
    size = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    if size is None or size < len(vocabulary):
        raise ModelError(
            f"The model '{model.name}' predicts {size} tokens and the vocabulary has {len(vocabulary)} words."
        )
