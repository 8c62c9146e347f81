"""Convolution and pooling on the CPU as matrix products and comparisons, which are faster in XLA than its own
operations."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from unidl.sampling import coordinates, filled

TILE_BYTES = 5 * 2**19
"""Bytes of patches created and used at a time: the second convolution of the CNN takes 0.62 of the time
needed with the patches of all 128 images of a batch (two cores with 1 MiB of L2 each)."""

LARGEST_OUTPUTS = 2**24
"""Bytes of outputs up to which a convolution whose patches are smaller than its outputs is computed at once: copying
outputs from parts costs more than the cache saves; above this size parts save 5%."""

LARGEST_PATCHES = 2**28
"""Bytes of patches created at once above which XLA's own convolution is used."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolution(images: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: str) -> jax.Array:
    """Convolve images (batch, height, width, channels) with a kernel (height, width, channels, filters)."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=layout)


def _convolution_forward(images: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    def convolve(images: jax.Array) -> jax.Array:
        patches = _patches(images, kernel.shape[:2], strides, padding)
        outputs = _rows(patches) @ _rows(kernel)
        return outputs.reshape(*patches.shape[:3], -1)

    tiles = _tiles(images, kernel, strides, padding)
    outputs = convolve(images) if len(tiles) == 1 else _joined(jax.lax.map(convolve, tiles))
    return outputs, (images, kernel)


def _convolution_backward(strides: tuple[int, int], padding: str, saved: Any, gradient: jax.Array) -> Any:
    images, kernel = saved
    tiles = _tiles(images, kernel, strides, padding)
    spread = partial(_patches, size=kernel.shape[:2], strides=strides, padding=padding)
    tile = jax.ShapeDtypeStruct(tiles.shape[1:], images.dtype)

    def differentiate(to_kernel: jax.Array, given: Any) -> Any:
        images, gradient = given
        patches = spread(images)
        to_kernel = to_kernel + _rows(patches).T @ _rows(gradient)
        to_patches = (_rows(gradient) @ _rows(kernel).T).reshape(patches.shape)
        (to_images,) = jax.linear_transpose(spread, tile)(to_patches)
        return to_kernel, to_images

    gradients = gradient.reshape(*tiles.shape[:2], *gradient.shape[1:])
    start = jnp.zeros_like(_rows(kernel))
    if len(tiles) == 1:
        to_kernel, to_images = differentiate(start, (tiles[0], gradients[0]))
    else:
        to_kernel, to_images = jax.lax.scan(differentiate, start, (tiles, gradients))
    return to_images.reshape(images.shape), to_kernel.reshape(kernel.shape)


convolution.defvjp(_convolution_forward, _convolution_backward)


def patch_bytes(images: Any, kernel: Any, strides: tuple[int, int], padding: str) -> int:
    """Return the bytes of the patches that `convolution` creates at once."""
    tiles = jax.eval_shape(partial(_tiles, strides=strides, padding=padding), images, kernel)
    tile = jax.ShapeDtypeStruct(tiles.shape[1:], tiles.dtype)
    patches = jax.eval_shape(partial(_patches, size=kernel.shape[:2], strides=strides, padding=padding), tile)
    return patches.size * patches.dtype.itemsize


def _tiles(images: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: str) -> jax.Array:
    """Split the images into equal parts (parts, images, height, width, channels) whose patches fit into a core's cache;
    a single part if that is impossible."""
    height, width, _, filters = kernel.shape
    patches = jax.eval_shape(partial(_patches, size=(height, width), strides=strides, padding=padding), images)
    count = most = len(images)
    length = patches.shape[-1]
    places = patches.size // length * patches.dtype.itemsize
    if length >= filters or filters * places > LARGEST_OUTPUTS:
        most = TILE_BYTES * count // max(1, places * max(length, filters))
    size = next((size for size in range(min(most, count), most // 4, -1) if count % size == 0), count)
    return images.reshape(count // max(1, size) or 1, size, *images.shape[1:])


def _joined(tiles: jax.Array) -> jax.Array:
    return tiles.reshape(-1, *tiles.shape[2:])


def _rows(values: jax.Array) -> jax.Array:
    return values.reshape(-1, values.shape[-1])


def _patches(images: jax.Array, size: tuple[int, int], strides: tuple[int, int], padding: str) -> jax.Array:
    """Return the patch at each position: (batch, rows, columns, kernel height * kernel width * channels)."""
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
    """Max-pool over non-overlapping windows of `size`. images: (batch, height, width, channels)."""
    return _windows(images, size).max(axis=(2, 4))


def _max_pool_forward(images: jax.Array, size: tuple[int, int]) -> Any:
    outputs = max_pool(images, size)
    return outputs, (images, outputs)


def _max_pool_backward(size: tuple[int, int], saved: Any, gradient: jax.Array) -> Any:
    """Pass the gradient to the first of equal values, as XLA and the other frameworks do."""
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
    """Reshape to (batch, rows, size, columns, size, channels), without the remainder that fills no window."""
    batch, height, width, channels = images.shape
    rows, columns = height // size[0], width // size[1]
    whole = images[:, : rows * size[0], : columns * size[1]]
    return whole.reshape(batch, rows, size[0], columns, size[1], channels)


def bilinear(images: jax.Array, matrices: jax.Array, fill: str) -> jax.Array:
    """`unidl.sampling.bilinear` for the fills that read inside the image. Each pixel is put beside its right, lower
    and diagonal neighbour first, so that one lookup gives all four: XLA computes the place anew for each lookup."""
    batch, height, width, channels = images.shape
    x, y = coordinates(matrices, height, width)
    x, y = filled(x, width, fill), filled(y, height, fill)
    left, top = jnp.floor(x), jnp.floor(y)
    first = jnp.arange(batch, dtype=jnp.int32).reshape(-1, 1, 1) * (height * width)
    numbers = first + top.astype(jnp.int32) * width + left.astype(jnp.int32)
    right = jnp.concatenate([images[:, :, 1:], images[:, :, -1:]], axis=2)
    pairs = jnp.concatenate([images, right], axis=-1)
    lower = jnp.concatenate([pairs[:, 1:], pairs[:, -1:]], axis=1)
    table = jnp.concatenate([pairs, lower], axis=-1).reshape(-1, 4 * channels)
    found = table.at[numbers.reshape(-1)].get(mode="clip").astype(matrices.dtype)
    found = found.reshape(batch, height, width, 2, 2, channels)
    right_share, lower_share = (x - left)[..., None, None], (y - top)[..., None]
    lines = found[..., 0, :] * (1.0 - right_share) + found[..., 1, :] * right_share
    return lines[..., 0, :] * (1.0 - lower_share) + lines[..., 1, :] * lower_share
