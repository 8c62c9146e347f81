"""Keras's random initializers in NumPy: the same distributions, bit-identical on every backend.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import initializers
from threadpoolctl import threadpool_limits

Array = np.ndarray[Any, np.dtype[np.float32]]

CONSTANT = (
    initializers.Zeros,
    initializers.Ones,
    initializers.Constant,
    initializers.Identity,
    initializers.STFT,
)
"""Deterministic initializers."""

STDDEV_OF_TRUNCATED_NORMAL = 0.87962566103423978
"""Standard deviation of a standard normal truncated at two standard deviations; Keras divides by it."""


def draw(initializer: Any, shape: Sequence[int], generator: np.random.Generator) -> Array:
    """Draw float32 values of `shape` from the distribution of a Keras initializer.

    The initializer's own seed is ignored. Raises KeyError if it is not one of `RANDOM`.
    """
    return RANDOM[type(initializer)](initializer, tuple(shape), generator)


def fans(shape: Sequence[int], input_axes: Any = None, output_axes: Any = None) -> tuple[int, int]:
    """Return fan in and fan out of a weight, as Keras computes them.

    A convolution kernel has shape (..., inputs, outputs), and each position of its window counts.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    values = generator.random(shape, dtype=np.float32)
    values *= np.float32(high - low)
    values += np.float32(low)
    return values


def _normal(mean: float, stddev: float, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    values = generator.standard_normal(shape, dtype=np.float32)
    values *= np.float32(stddev)
    values += np.float32(mean)
    return values


def _truncated(mean: float, stddev: float, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw from a normal distribution; values beyond two standard deviations are redrawn."""
    values = generator.standard_normal(math.prod(shape), dtype=np.float32)
    beyond = np.flatnonzero(np.abs(values) > 2)
    while beyond.size:
        values[beyond] = generator.standard_normal(beyond.size, dtype=np.float32)
        beyond = beyond[np.abs(values[beyond]) > 2]
    values *= np.float32(stddev)
    values += np.float32(mean)
    return values.reshape(shape)


def _variance_scaling(initializer: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw with variance scale / n, where n is the fan in, the fan out or their mean.

    Scale 1 over the mean: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", eq. 16. Scale 2 over the fan in: He et al. 2015, "Delving deep into rectifiers", eq. 10.
    Scale 1 over the fan in: LeCun et al. 1998, "Efficient backprop", section 4.6.
    """
    fan_in, fan_out = fans(shape, initializer.input_axes, initializer.output_axes)
    connections = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, connections)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return _uniform(-limit, limit, shape, generator)
    if initializer.distribution == "truncated_normal":
        return _truncated(0.0, math.sqrt(variance) / STDDEV_OF_TRUNCATED_NORMAL, shape, generator)
    return _normal(0.0, math.sqrt(variance), shape, generator)


def _orthogonal(initializer: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Return a random matrix with orthonormal columns, or rows if there are fewer rows, times the gain.

    Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks".
    The factor Q is unique once the diagonal of R is positive, which also makes it uniform (Mezzadri 2007,
    "How to generate random matrices from the classical compact groups"). The last bits of float64 depend on
    the BLAS; a grid of 2**-24, fine enough for float32, hides them.
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    gaussian = generator.standard_normal((max(rows, columns), min(rows, columns)))
    # One thread: on a busy machine OpenBLAS's threads wait for each other, for seconds instead of 10 ms.
    with threadpool_limits(1, "blas"):
        orthogonal, triangular = np.linalg.qr(gaussian)
    orthogonal *= np.sign(np.diagonal(triangular))
    if rows < columns:
        orthogonal = orthogonal.T
    orthogonal = np.rint(orthogonal * 2**24) / 2**24
    return np.float32(initializer.gain) * orthogonal.astype(np.float32).reshape(shape)


RANDOM: dict[type, Callable[[Any, tuple[int, ...], np.random.Generator], Array]] = {
    initializers.RandomUniform: lambda given, *rest: _uniform(given.minval, given.maxval, *rest),
    initializers.RandomNormal: lambda given, *rest: _normal(given.mean, given.stddev, *rest),
    initializers.TruncatedNormal: lambda given, *rest: _truncated(given.mean, given.stddev, *rest),
    initializers.VarianceScaling: _variance_scaling,
    initializers.GlorotUniform: _variance_scaling,
    initializers.GlorotNormal: _variance_scaling,
    initializers.HeUniform: _variance_scaling,
    initializers.HeNormal: _variance_scaling,
    initializers.LecunUniform: _variance_scaling,
    initializers.LecunNormal: _variance_scaling,
    initializers.Orthogonal: _orthogonal,
}
"""All random Keras initializers. Exact classes, since a subclass may draw differently."""
