"""Dropout whose masks are the same bits on every backend, by an integer hash in `keras.ops`.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from unidl.models.layer_paths import walk

ops: Any = keras.ops  # whose annotations allow for results that are no tensors

FACTORS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)
"""Of `lowbias32`, found by Chris Wellons in a search for the least bias between input and output bits (2018,
"Prospecting for hash functions", https://nullprogram.com/blog/2018/07/31)."""


@keras.saving.register_keras_serializable("unidl")
class Dropout(keras.layers.Dropout):
    """Keras's dropout, with the masks of `keep_mask`: the n-th mask of a seed is the same on every backend."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        shape = [
            size if own is None else own
            for own, size in zip(self.noise_shape or [None] * len(inputs.shape), ops.shape(inputs), strict=True)
        ]
        state = ops.cast(self.seed_generator.next(), "int32")
        mask = keep_mask(shape, state[0], state[1], 1.0 - self.rate)
        return ops.where(mask, inputs / (1.0 - self.rate), ops.zeros((), dtype=inputs.dtype))


def foreign_draws(model: keras.Model) -> list[str]:
    """Return the paths of the layers that draw from Keras's own stream in training, another one on each backend."""
    return [path for path, layer in walk(model) if layer._seed_generators and _is_noisy(layer)]


def _is_noisy(layer: Any) -> bool:
    """Recurrent cells have a generator whether they drop anything or not."""
    amounts = [getattr(layer, name) for name in ("dropout", "recurrent_dropout") if hasattr(layer, name)]
    return not isinstance(layer, Dropout) and (not amounts or any(amounts))


def keep_mask(shape: Sequence[Any], seed: Any, number: Any, keep: float) -> Any:
    """Return booleans of `shape`, each true with the probability `keep`: the mask with this number of this seed.

    seed, number: int32 scalars. Every bit is that of two rounds of a hash of (place, seed, number) in 32 bits.
    """
    first = _hashed(ops.bitwise_xor(seed, _signed(0x9E3779B9)))  # so that seed 0 is no fixed point
    second = _hashed(number + first)
    count = math.prod(shape) if all(isinstance(size, int) for size in shape) else ops.prod(ops.stack(shape))
    places = ops.arange(count, dtype="int32")
    bits = ops.bitwise_and(_hashed(_hashed(ops.bitwise_xor(places, first)) + second), 0x7FFFFFFF)
    limit = min(round(keep * 2**31), 2**31 - 1)
    return ops.reshape(bits < limit, shape)


def _hashed(values: Any) -> Any:
    """int32 to int32, one to one; products wrap around on every backend."""
    for shift, factor in zip(SHIFTS, (*FACTORS, None), strict=True):
        # Right shifts of int32 copy the sign; unsigned integers have no arithmetic on PyTorch.
        shifted = ops.bitwise_and(ops.right_shift(values, shift), 2 ** (32 - shift) - 1)
        values = ops.bitwise_xor(values, shifted)
        if factor is not None:
            values = values * _signed(factor)
    return values


def _signed(bits: int) -> int:
    """The int32 with these bits."""
    return bits - 2**32 if bits >= 2**31 else bits
