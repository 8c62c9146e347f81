"""Draws by an integer hash in `keras.ops`: the n-th of a seed is the same on every backend, device and compiler.

A draw is keyed by `Key(seed, number)`, two int32 scalars, and by the place of a value in it. Only integers, and single
float32 operations that every IEEE machine rounds alike, lead from the hash to a value: a product followed by a sum
would not do, since compilers may round it once or twice.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

import keras
import numpy as np

from unidl.backend import Share

ops: Any = keras.ops  # whose annotations allow for results that are not tensors

FACTORS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)
"""Of `lowbias32`, found by Chris Wellons in a search for the least bias between input and output bits (2018,
"Prospecting for hash functions", https://nullprogram.com/blog/2018/07/31)."""

QUANTILE_BITS = 12
"""Two tables' sum has 2**24 places, and reaches 5.2 standard deviations."""


_share: ContextVar[Share | None] = ContextVar("_share", default=None)


class Key(NamedTuple):
    """Which draw it is. seed, number: int32 scalars."""

    seed: Any
    number: Any


def next_key(generator: keras.random.SeedGenerator) -> Key:
    """Return the key of a generator's next draw, and count it."""
    state = ops.cast(generator.next(), "int32")
    return Key(state[0], state[1])


@contextmanager
def drawing_for(share: Share) -> Generator[None]:
    """Inside it, draws for the rows of a batch are those of the rows of this share of it."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


def keep_mask(shape: Sequence[Any], key: Key, keep: float, *, rows: int | None = 0) -> Any:
    """Return booleans of `shape`, each true with the probability `keep`. rows: the axis of the rows of the batch, None
    if the mask holds for all of them."""
    limit = min(round(keep * 2**31), 2**31 - 1)
    return _bits(shape, key, rows) < limit


def uniform(shape: Sequence[Any], key: Key, low: float, high: float, *, rows: int | None = 0) -> Any:
    """Return float32 numbers of `shape` from `low` to `high`: whole multiples of (high - low) / 2**24, or of a larger
    part where the two lie close together and far from zero. rows: as for `keep_mask`."""
    bits = _bits_apart(low, high)
    step = (high - low) / 2**bits
    if bits == 0 or step < np.finfo(np.float32).tiny:
        return ops.zeros(shape, dtype="float32") + np.float32(
            low
        )  # the two are one number, or a machine may flush it to zero
    whole = ops.right_shift(_bits(shape, key, rows), 31 - bits) + round(low / step)
    return ops.cast(whole, "float32") * np.float32(step)


def _bits_apart(low: float, high: float) -> int:
    """How many bits tell numbers from `low` to `high` apart, so that multiples of their part are int32; at most 24."""
    if not low < high:
        return 0
    return max(0, min(24, 29 - math.frexp(max(abs(low), abs(high)))[1] + math.frexp(high - low)[1]))


def normal(shape: Sequence[Any], key: Key, deviation: float = 1.0) -> Any:
    """Return float32 numbers of `shape` from the normal distribution with mean 0 and this standard deviation.

    Each is the sum of two quantiles, looked up by different bits of the hash: logarithms and cosines, which the usual
    formulas need, differ between backends in their last bit.
    """
    bits, table = _bits(shape, key, 0), ops.convert_to_tensor(_quantiles(deviation))
    last = 2**QUANTILE_BITS - 1
    one = ops.bitwise_and(bits, last)
    other = ops.bitwise_and(ops.right_shift(bits, QUANTILE_BITS), last)
    return ops.take(table, one) + ops.take(table, other)


@cache
def _quantiles(deviation: float) -> np.ndarray:
    """The middles of equally likely parts of a normal distribution, of which two add up to this standard deviation."""
    count = 2**QUANTILE_BITS
    middles = np.array([NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)])
    return (middles * (deviation / math.sqrt(2 * np.mean(middles**2)))).astype(np.float32)


def _bits(shape: Sequence[Any], key: Key, rows: int | None) -> Any:
    """Return int32 numbers of `shape`, from 0 to 2**31 - 1, by two rounds of a hash of (place, seed, number)."""
    first = _hashed(ops.bitwise_xor(key.seed, _signed(0x9E3779B9)))  # so that seed 0 is not a fixed point
    second = _hashed(key.number + first)
    # A size is a tensor in TensorFlow's graphs, and a symbol where JAX looks for the shape of a layer's output.
    count = ops.prod(ops.stack(shape)) if any(ops.is_tensor(size) for size in shape) else math.prod(shape)
    places = ops.arange(count, dtype="int32")
    share = _share.get()
    if share is not None and rows is not None and len(shape) > rows and shape[rows] == share.rows:
        places = _places_in_batch(places, math.prod(shape[rows + 1 :]), share)
    bits = ops.bitwise_and(_hashed(_hashed(ops.bitwise_xor(places, first)) + second), 0x7FFFFFFF)
    return ops.reshape(bits, shape)


def _places_in_batch(places: Any, size: int, share: Share) -> Any:
    """Return the places that values of a share have among those of the whole batch. size: values of a row."""
    block, place = ops.floor_divide(places, share.rows * size), ops.mod(places, share.rows * size)
    return block * (share.total * size) + share.first * size + place


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
