"""Keras's dropout with a seed, in a form that a trace can hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from keras.src.random.seed_generator import draw_seed

# The package says `random` of another module, too.
keras_random = sys.modules["keras.src.backend.torch.random"]

_dropout = keras_random.dropout


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Keras's dropout, whose seed stays a tensor until its mask is drawn: as a number it would be a constant.

    With a seed the masks are those of Keras. Without one PyTorch draws them from its global stream, from which Keras's
    `fit` takes two numbers more for the loader of each epoch: the masks are then others than in `fit`, as good."""
    shape = keras_random._get_concrete_noise_shape(inputs, noise_shape)
    unseeded = seed is None or getattr(seed, "_initial_seed", seed) is None
    if rate in (0.0, 1.0) or (unseeded and noise_shape is None) or inputs.device.type == "meta":
        return _dropout(inputs, rate, noise_shape, seed)
    mask = keep_mask(draw_seed(seed), shape, 1.0 - rate, str(inputs.device))
    return torch.where(torch.broadcast_to(mask, inputs.shape), inputs / (1.0 - rate), torch.zeros_like(inputs))


@torch.library.custom_op("unidl::keep_mask", mutates_args=())
def keep_mask(seed: torch.Tensor, shape: Sequence[int], keep: float, device: str) -> torch.Tensor:
    """Which values dropout keeps: what Keras draws from this seed."""
    generator = torch.Generator(device=device)
    # As in Keras's torch_seed_generator: the second half of the seed counts the draws.
    generator.manual_seed(int(seed.sum()) & 0xFFFFFFFF)
    return torch.bernoulli(torch.full(list(shape), keep, device=device), generator=generator).bool()


REPLACEMENTS = ((keras_random, "dropout", dropout),)
