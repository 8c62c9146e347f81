"""Images beside each other on one sheet, each with a line below it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unidl.data.source import Column

TILE = 112
"""Pixels of a side; a smaller image is enlarged by whole pixels, so that each of them is seen."""
LINE = 14
"""Pixels of a line of text, in Pillow's own font."""
GAP = 8
COLUMNS = 6
LONGEST_LINE = 18
"""Characters below a tile."""


def is_images(x: Any) -> bool:
    """Whether rows are images that can be drawn: (rows, height, width, 1, 3 or 4)."""
    found = isinstance(x, np.ndarray | Column) and x.ndim == 4
    return found and x.shape[-1] in (1, 3, 4) and x.dtype.kind in "uif"


def contact_sheet(
    images: np.ndarray[Any, Any], lines: Sequence[Sequence[str]], value_range: tuple[float, float] | None = None
) -> bytes:
    """Return a PNG. images: (rows, height, width, channels). lines: below each image. value_range: what is black and
    what white; None for 0 to 255 of uint8, and for the least and the largest value of others."""
    from PIL import Image, ImageDraw

    rows = math.ceil(len(images) / COLUMNS)
    below = LINE * max((len(words) for words in lines), default=0)
    columns = min(COLUMNS, len(images))
    size = (GAP + columns * (TILE + GAP), GAP + rows * (TILE + below + GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    low, high = value_range or _range(images)
    for number, (image, words) in enumerate(zip(images, lines, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + below + GAP)
        tile = _tile(image, low, high)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        for place, line in enumerate(words):
            short = line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}~"
            draw.text((left, top + TILE + place * LINE), _plain(short), fill="black")
    picture = io.BytesIO()
    sheet.save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def _range(images: np.ndarray[Any, Any]) -> tuple[float, float]:
    if images.dtype == np.uint8 or not images.size:
        return 0.0, 255.0
    return float(images.min()), float(images.max())


def _tile(image: np.ndarray[Any, Any], low: float, high: float) -> Any:
    from PIL import Image

    grey = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    pixels = np.rint(grey * 255).astype(np.uint8)
    made = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]).convert("RGB")
    longest = max(made.size)
    if longest > TILE:
        made.thumbnail((TILE, TILE))
        return made
    factor = TILE // longest
    return made.resize((made.width * factor, made.height * factor), Image.Resampling.NEAREST)


def _plain(line: str) -> str:
    """What Pillow's own font can write."""
    return line.encode("latin-1", "replace").decode("latin-1")
