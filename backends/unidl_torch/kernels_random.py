"""Keras's random draws in a form that can be traced: the same numbers, from a seed that stays a tensor.

Keras converts each seed to a Python number, which a trace would keep from the first batch on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch

from unidl_torch.keras_internals import (
    CATEGORICAL,
    DROPOUT,
    NORMAL,
    RANDINT,
    UNIFORM,
    draw_seed,
    is_unseeded,
)
from unidl_torch.keras_internals import (
    noise_shape as shape_of_noise,
)
from unidl_torch.keras_internals import (
    random as keras_random,
)
from unidl_torch.seeds import generator_of

_dropout, _uniform, _normal, _randint, _categorical = (
    place.original for place in (DROPOUT, UNIFORM, NORMAL, RANDINT, CATEGORICAL)
)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Keras's dropout. With a seed the masks equal Keras's; without one PyTorch draws them from its global generator,
    from which Keras's `fit` draws two more numbers for the loader of each epoch: the masks then differ from those in
    `fit`.
    """
    shape = shape_of_noise(inputs, noise_shape)
    if rate in (0.0, 1.0) or (is_unseeded(seed) and noise_shape is None) or inputs.device.type == "meta":
        return _dropout(inputs, rate, noise_shape, seed)
    mask = keep_mask(draw_seed(seed), shape, 1.0 - rate, str(inputs.device))
    return torch.where(torch.broadcast_to(mask, inputs.shape), inputs / (1.0 - rate), torch.zeros_like(inputs))


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Keras's uniform numbers."""
    device = keras_random.get_device()
    if device == "meta":
        return _uniform(shape, minval, maxval, dtype, seed)
    found = torch.ops.unidl.uniform(draw_seed(seed), list(shape) or [1], _type(dtype or keras.config.floatx()), device)
    found = (maxval - minval) * found + minval
    return found if len(shape) else found[0]


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Keras's normal numbers."""
    device = keras_random.get_device()
    if device == "meta" or not isinstance(mean, int | float) or not isinstance(stddev, int | float):
        return _normal(shape, mean, stddev, dtype, seed)
    kind = _type(dtype or keras.config.floatx())
    return torch.ops.unidl.normal(draw_seed(seed), list(shape), float(mean), float(stddev), kind, device)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Keras's random integers."""
    device = keras_random.get_device()
    if device == "meta" or not isinstance(minval, int) or not isinstance(maxval, int):
        return _randint(shape, minval, maxval, dtype, seed)
    return torch.ops.unidl.randint(draw_seed(seed), list(shape), minval, maxval, _type(dtype), device)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Keras's categorical draws. logits: (batch, classes)."""
    if keras_random.get_device() == "meta":
        return _categorical(logits, num_samples, dtype, seed)
    shares = torch.softmax(keras_random.convert_to_tensor(logits), dim=-1)
    return torch.ops.unidl.categorical(draw_seed(seed), shares, num_samples).type(_type(dtype))


@torch.library.custom_op("unidl::keep_mask", mutates_args=())
def keep_mask(seed: torch.Tensor, shape: Sequence[int], keep: float, device: str) -> torch.Tensor:
    """Draw Keras's mask of the values that dropout keeps."""
    return torch.bernoulli(torch.full(list(shape), keep, device=device), generator=generator_of(seed, device)).bool()


@torch.library.custom_op("unidl::uniform", mutates_args=())
def _uniform_of(seed: torch.Tensor, shape: Sequence[int], dtype: torch.dtype, device: str) -> torch.Tensor:
    return torch.rand(list(shape), generator=generator_of(seed, device), dtype=dtype, device=device)


@torch.library.custom_op("unidl::normal", mutates_args=())
def _normal_of(
    seed: torch.Tensor, shape: Sequence[int], mean: float, stddev: float, dtype: torch.dtype, device: str
) -> torch.Tensor:
    generator = generator_of(seed, device)
    return torch.normal(mean, stddev, size=list(shape), generator=generator, dtype=dtype, device=device)


@torch.library.custom_op("unidl::randint", mutates_args=())
def _randint_of(
    seed: torch.Tensor, shape: Sequence[int], low: int, high: int, dtype: torch.dtype, device: str
) -> torch.Tensor:
    return torch.randint(low, high, list(shape), generator=generator_of(seed, device), dtype=dtype, device=device)


@torch.library.custom_op("unidl::categorical", mutates_args=())
def _categorical_of(seed: torch.Tensor, shares: torch.Tensor, count: int) -> torch.Tensor:
    return torch.multinomial(shares, count, replacement=True, generator=generator_of(seed, str(shares.device)))


def _type(name: Any) -> torch.dtype:
    return keras_random.to_torch_dtype(name)
