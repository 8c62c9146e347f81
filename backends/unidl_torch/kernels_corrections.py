"""Corrections of functions that Keras 3.15 computes differently on PyTorch than on JAX and TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from torch.nn import functional

from unidl_torch.keras_internals import AVERAGE_POOLING, transposed_inputs, transposed_outputs
from unidl_torch.kernels_images import both_sides, same_padding

_average_pool = AVERAGE_POOLING.original
_AVERAGES = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """Average pooling that excludes padding from the averages. Keras includes it where padding="same" adds more on one
    side than on the other (keras pull request 23233, not in 3.15.1)."""
    inputs = keras.ops.convert_to_tensor(inputs)
    rank = inputs.ndim - 2
    last = (data_format or keras.config.image_data_format()) == "channels_last"
    sizes = inputs.shape[1:-1] if last else inputs.shape[2:]
    pool = _tuple(pool_size, rank)
    steps = pool if strides is None else _tuple(strides, rank)
    amounts = same_padding(sizes, pool, steps)
    if padding != "same" or not any(amount % 2 for amount in amounts):
        return _average_pool(inputs, pool_size, strides, padding, data_format)
    sides = both_sides(amounts)
    images = transposed_inputs(inputs) if last else inputs
    inside = functional.pad(torch.ones_like(images[:1, :1]), sides)
    average = _AVERAGES[rank]
    outputs = average(functional.pad(images, sides), pool, steps) / average(inside, pool, steps)
    return transposed_outputs(outputs) if last else outputs


class Functional:
    """`torch.nn.functional` for Keras's image operations, with a different bicubic interpolation."""

    def __getattr__(self, name: str) -> Any:
        return getattr(functional, name)

    @staticmethod
    def interpolate(images: torch.Tensor, size: Any, mode: str, align_corners: Any, antialias: bool) -> torch.Tensor:
        """Resize images (batch, channels, height, width). Without antialiasing PyTorch's cubic uses a = -0.75, that of
        JAX and TensorFlow -0.5 (Keys 1981, "Cubic convolution interpolation for digital image processing")."""
        if mode != "bicubic" or antialias:
            return functional.interpolate(
                images, size=size, mode=mode, align_corners=align_corners, antialias=antialias
            )
        rows, columns = (_cubic(*sides, images) for sides in zip(size, images.shape[2:], strict=True))
        return rows @ images @ columns.T


def _cubic(wanted: int, given: int, like: torch.Tensor) -> torch.Tensor:
    """Return the weight (outputs, inputs) of each input pixel in each output pixel; positions are pixel centers."""
    places = (np.arange(wanted) + 0.5) * (given / wanted) - 0.5
    distances = np.abs(places[:, None] - np.arange(given))
    near = (1.5 * distances - 2.5) * distances**2 + 1
    far = ((-0.5 * distances + 2.5) * distances - 4) * distances + 2
    shares = np.where(distances < 1, near, np.where(distances < 2, far, 0.0))
    return torch.as_tensor(shares / shares.sum(axis=1, keepdims=True), dtype=like.dtype, device=like.device)


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)
