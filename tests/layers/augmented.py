"""What an augmentation must give, by NumPy in float64 from the formulas, and images to try it on."""

from __future__ import annotations

import math

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])
GREY_LEVEL = 1 / 255


def photographs(count=6, height=24, width=20, channels=3, seed=0):
    """Smooth images of bytes (count, height, width, channels), with some noise."""
    drawn = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pace = drawn.uniform(0.1, 0.6, (count, channels, 2))
    waves = np.sin(
        pace[..., 0, None, None] * x + pace[..., 1, None, None] * y + drawn.uniform(0, 6, (count, channels, 1, 1))
    )
    noisy = 127.5 + 100 * waves + drawn.normal(scale=8, size=waves.shape)
    return np.moveaxis(np.clip(np.rint(noisy), 0, 255), 1, 3).astype(np.uint8)


def about_the_middle(matrices, height, width):
    """Matrices (n, 3, 3) for places from the middle as those for places from the first pixel."""
    move = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    return move @ matrices @ np.linalg.inv(move)


def sampled(images, matrices, fill="reflect", fill_value=0.0):
    """images: (n, h, w, c). matrices: (n, 3, 3) from a pixel of the result to where it is read."""
    _, height, width, _ = images.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    found = np.empty(images.shape)
    for row, (image, matrix) in enumerate(zip(images.astype(np.float64), matrices, strict=True)):
        places = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix[:2].T
        left, top = np.floor(places[..., 0]), np.floor(places[..., 1])
        across, down = places[..., 0] - left, places[..., 1] - top
        found[row] = sum(
            share[..., None] * pixels(image, top + i, left + j, fill, fill_value)
            for i, j, share in (
                (0, 0, (1 - down) * (1 - across)),
                (0, 1, (1 - down) * across),
                (1, 0, down * (1 - across)),
                (1, 1, down * across),
            )
        )
    return found


def pixels(image, row, column, fill, fill_value):
    """The pixels of an image (h, w, c) at places that may lie beyond it."""
    height, width, _ = image.shape
    rows, columns = (inside(place, size, fill) for place, size in ((row, height), (column, width)))
    found = image[rows, columns]
    if fill == "constant":
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found = np.where(within[..., None], found, fill_value)
    return found


def inside(place, size, fill):
    place = place.astype(int)
    if fill == "reflect":
        place = place % (2 * size)
        return np.where(place >= size, 2 * size - 1 - place, place)
    return np.clip(place, 0, size - 1)


def flipped_rotated_zoomed(drawn, height, width):
    """The matrices of "flip,rotation=0.1,zoom=0.2" for numbers from 0 to 1, (4, n)."""
    found = []
    for across, _, turn, zoom in drawn.T:
        angle = (2 * turn - 1) * 0.1 * 2 * math.pi
        flip = np.diag([-1 if across < 0.5 else 1, 1, 1])
        rotation = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        scale = 0.8 + 0.4 * zoom
        found.append(flip @ rotation @ np.diag([scale, scale, 1]))
    return about_the_middle(np.array(found), height, width)


def brighter_and_with_contrast(images, drawn):
    """ "brightness=0.2,contrast=0.2" of images from 0 to 1, for numbers from 0 to 1, (2, n)."""
    brightness, contrast = (0.4 * drawn[0] - 0.2, 0.8 + 0.4 * drawn[1])
    lighter = images + brightness[:, None, None, None]
    grey = (lighter.mean(axis=(1, 2)) @ LUMA)[:, None, None, None]
    return np.clip(grey + contrast[:, None, None, None] * (lighter - grey), 0, 1)
