"""One random stream, bit-identical on every backend: draws keyed by (seed, purpose, position)."""

from __future__ import annotations

import hashlib
import operator

import numpy as np


def stream(seed: int, purpose: str, *position: int | str) -> np.random.Generator:
    """Return the generator of one position in the stream, such as `stream(0, "order", epoch)`.

    The same arguments give the same draws in every process and on every backend; different arguments give independent
    ones. Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"); its 128-bit key
    is the BLAKE2b hash of the arguments, since neighbouring seeds must not give neighbouring streams.

    Args:
        seed: The seed of the whole stream, an integer.
        purpose: What the draws are for, such as "order".
        *position: Where in the stream: integers and strings.

    Returns:
        A NumPy generator at the start of this position.

    Examples:
        >>> from unidl.random import stream
        >>> stream(0, "order", 1).permutation(4).tolist() == stream(0, "order", 1).permutation(4).tolist()
        True
    """
    places = [place if isinstance(place, str) else operator.index(place) for place in position]
    words = repr((operator.index(seed), purpose, *places)).encode()
    key = np.frombuffer(hashlib.blake2b(words, digest_size=16).digest(), dtype="<u8")
    return np.random.Generator(np.random.Philox(key=key))


def derived_seed(seed: int, purpose: str, *position: int | str) -> int:
    """Return a seed below 2**31 for code that takes one number, such as a Keras `SeedGenerator`.

    Args:
        seed: As in `stream`.
        purpose: As in `stream`.
        *position: As in `stream`.

    Returns:
        A non-negative integer, the same for the same arguments.

    Examples:
        >>> from unidl.random import derived_seed
        >>> 0 <= derived_seed(0, "dropout", "dense") < 2**31
        True
    """
    return int(stream(seed, purpose, *position).integers(2**31 - 1))
