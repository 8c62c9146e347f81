"""Images beside one another on one picture, with words above and beside them, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unidl.shortening import shortened

if TYPE_CHECKING:
    from PIL import Image

SMALLEST_SIDE = 96
"""Pixels to which smaller images are enlarged, each of their pixels to a square."""
LARGEST_SIDE = 256
"""Pixels to which larger images are reduced."""
MARGIN = 8
TEXT_HEIGHT = 16
LONGEST_NAME = 24
"""Characters of a name beside a row."""
CHARACTER_WIDTH = 8
"""Pixels, about, of a character of Pillow's font at this height."""


def contact_sheet(rows: Sequence[np.ndarray], names: Sequence[str], titles: Sequence[str]) -> Image.Image:
    """Return a picture of rows of images.

    rows: each (images, height, width, 1 or 3), floats from 0 to 1. names: what is written beside each row; titles:
    above each column.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(TEXT_HEIGHT - 3)
    height, width = _shown_size(*rows[0].shape[1:3])
    written = [
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 4]} ..." for name in map(shortened, names)
    ]
    beside = MARGIN + CHARACTER_WIDTH * max(map(len, written), default=0)
    columns = max(len(row) for row in rows)
    size = (
        beside + MARGIN + columns * (width + MARGIN),
        2 * MARGIN + TEXT_HEIGHT + len(rows) * (height + MARGIN),
    )
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((beside + MARGIN + column * (width + MARGIN), MARGIN), title, fill="black", font=font)
    for number, (row, name) in enumerate(zip(rows, written, strict=True)):
        top = 2 * MARGIN + TEXT_HEIGHT + number * (height + MARGIN)
        pen.text((MARGIN, top + (height - TEXT_HEIGHT) // 2), name, fill="black", font=font)
        for column, image in enumerate(row):
            sheet.paste(_picture(image, (width, height)), (beside + MARGIN + column * (width + MARGIN), top))
    return sheet


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width on the sheet."""
    times = -(-SMALLEST_SIDE // max(height, width)) if max(height, width) < SMALLEST_SIDE else 1
    share = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * times * share)), max(1, round(width * times * share))


def _picture(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    pixels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    larger = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BILINEAR)
