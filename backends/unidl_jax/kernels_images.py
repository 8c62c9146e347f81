"""Convolution and pooling on the CPU as matrix products and comparisons, which XLA computes faster than its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

LARGEST_PATCHES = 2**28
"""Bytes of patches above which a convolution stays XLA's own."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolution(images: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: str) -> jax.Array:
    """Convolve images (batch, height, width, channels) with a kernel (height, width, channels, filters)."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=layout)


def _convolution_forward(images: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    patches = _patches(images, kernel.shape[:2], strides, padding)
    outputs = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return outputs.reshape(*patches.shape[:3], -1), (patches, images.shape, kernel)


def _convolution_backward(strides: tuple[int, int], padding: str, saved: Any, gradient: jax.Array) -> Any:
    patches, shape, kernel = saved
    rows = gradient.reshape(-1, gradient.shape[-1])
    to_kernel = patches.reshape(-1, patches.shape[-1]).T @ rows
    to_patches = (rows @ kernel.reshape(-1, kernel.shape[-1]).T).reshape(patches.shape)
    spread = partial(_patches, size=kernel.shape[:2], strides=strides, padding=padding)
    zeros = jax.ShapeDtypeStruct(shape, patches.dtype)
    (to_images,) = jax.linear_transpose(spread, zeros)(to_patches)
    return to_images, to_kernel.reshape(kernel.shape)


convolution.defvjp(_convolution_forward, _convolution_backward)


def _patches(images: jax.Array, size: tuple[int, int], strides: tuple[int, int], padding: str) -> jax.Array:
    """What the kernel sees at each place: (batch, rows, columns, kernel height * kernel width * channels)."""
    pads = jax.lax.padtype_to_pads(images.shape[1:3], size, strides, padding)
    padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    rows, columns = ((padded.shape[1 + a] - size[a]) // strides[a] + 1 for a in (0, 1))
    return jnp.concatenate(
        [
            padded[
                :, i : i + (rows - 1) * strides[0] + 1 : strides[0], j : j + (columns - 1) * strides[1] + 1 : strides[1]
            ]
            for i in range(size[0])
            for j in range(size[1])
        ],
        axis=-1,
    )


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The largest value of each window of `size`, which do not overlap. images: (batch, height, width, channels)."""
    return _windows(images, size).max(axis=(2, 4))


def _max_pool_forward(images: jax.Array, size: tuple[int, int]) -> Any:
    outputs = max_pool(images, size)
    return outputs, (images, outputs)


def _max_pool_backward(size: tuple[int, int], saved: Any, gradient: jax.Array) -> Any:
    """The gradient goes to the first of equal values, as XLA and the other frameworks have it."""
    images, outputs = saved
    windows = _windows(images, size)
    free = jnp.ones(outputs.shape, bool)
    rows = []
    for i in range(size[0]):
        columns = []
        for j in range(size[1]):
            first = free & (windows[:, :, i, :, j] == outputs)
            free &= ~first
            columns.append(jnp.where(first, gradient, 0))
        rows.append(jnp.stack(columns, axis=3))
    spread = jnp.stack(rows, axis=2)
    height, width = outputs.shape[1] * size[0], outputs.shape[2] * size[1]
    spread = spread.reshape(len(images), height, width, images.shape[3])
    rest = ((0, 0), (0, images.shape[1] - height), (0, images.shape[2] - width), (0, 0))
    return (jnp.pad(spread, rest),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _windows(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """(batch, rows, size, columns, size, channels), without the rest that fills no window."""
    batch, height, width, channels = images.shape
    rows, columns = height // size[0], width // size[1]
    whole = images[:, : rows * size[0], : columns * size[1]]
    return whole.reshape(batch, rows, size[0], columns, size[1], channels)
