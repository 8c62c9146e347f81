"""Folders of small images for the tests of data that is read when it is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {"dark": 20, "light": 180}


def image_folder(root: Path, count: int = 20, *, size: tuple[int, int] = (20, 24), formats=("jpg", "png")) -> Path:
    """Make a folder of two classes with `count` noisy images each, in colour. formats: of one file after another."""
    drawn = np.random.default_rng(0)
    for name, value in CLASSES.items():
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = drawn.integers(0, 60, (*size, 3)) + value
            path = folder / f"{number:04}.{formats[number % len(formats)]}"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def damage(path: Path) -> Path:
    """Cut the end off a file."""
    path.write_bytes(path.read_bytes()[:-40])
    return path
