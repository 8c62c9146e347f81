"""Learn five new digits from ten labelled images each, with and without a base trained on five others.

The digits are the bundled ones, heavily distorted: rotated by up to 50 degrees, sheared, scaled by 0.7 to 1.5, shifted,
with changed contrast and noise. Undistorted, they are so easy that a base has no advantage.

    python examples/transfer.py [SEEDS]
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from unidl import Trainer, build_cnn, build_transfer, load_data

if TYPE_CHECKING:  # unidl selects Keras's framework: nothing may import Keras before it
    import keras

COPIES = 8
"""Distorted copies per image of the digits 0 to 4, on which the base is trained."""
LABELLED = 10
"""Labelled images per new class."""


def distort(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort each image differently. images: (count, height, width, 1), values from 0 to 1."""
    center = (np.array(images.shape[1:3]) - 1) / 2
    distorted = np.empty_like(images)
    for number, image in enumerate(images):
        angle = np.radians(generator.uniform(-50, 50))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shear = np.array([[1, generator.uniform(-0.3, 0.3)], [0, 1]])
        matrix = turn @ shear / generator.uniform(0.7, 1.5)
        offset = center - matrix @ (center + generator.uniform(-3, 3, size=2))
        moved = ndimage.affine_transform(image[..., 0], matrix, offset, order=1)
        noise = generator.normal(scale=0.1, size=moved.shape)
        distorted[number, ..., 0] = np.clip(generator.uniform(0.5, 1.0) * moved + noise, 0, 1)
    return distorted


def pretrained_base(x: np.ndarray, y: np.ndarray, seed: int = 0) -> keras.Model:
    """Train a CNN on distorted copies of the digits 0 to 4."""
    known = y < 5
    images = distort(np.repeat(x[known], COPIES, axis=0), np.random.default_rng(seed))
    base = build_cnn(input_shape=x.shape[1:], classes=5, seed=seed)
    Trainer(base, seed=seed).fit((images, np.repeat(y[known], COPIES)), epochs=5, batch_size=64, progress="quiet")
    return base


def new_digits(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[tuple, tuple]:
    """Return the few labelled rows and the test rows of the digits 5 to 9, distorted, with labels from 0."""
    generator = np.random.default_rng(1000 + seed)
    rows = generator.permutation(np.flatnonzero(y >= 5))
    few = np.concatenate([rows[y[rows] == digit][:LABELLED] for digit in range(5, 10)])
    rest = np.setdiff1d(rows, few)
    return (distort(x[few], generator), y[few] - 5), (distort(x[rest], generator), y[rest] - 5)


def accuracy(model: keras.Model, train: tuple, test: tuple, seed: int) -> float:
    """Train on a few rows and return the accuracy on the others."""
    trainer = Trainer(model, seed=seed)
    trainer.fit(train, epochs=40, batch_size=10, progress="quiet")
    return trainer.evaluate(test)["accuracy"]


def compare(seeds: int) -> tuple[list[float], list[float]]:
    """Return the accuracies from scratch and on the frozen base, one pair per seed."""
    digits = load_data("digits")
    x = np.concatenate([digits.train.x, digits.test.x])
    y = np.concatenate([digits.train.y, digits.test.y])
    base = pretrained_base(x, y)
    scratch, transfer = [], []
    for seed in range(seeds):
        train, test = new_digits(x, y, seed)
        scratch.append(accuracy(build_cnn(x.shape[1:], classes=5, seed=seed), train, test, seed))
        head = build_transfer(base, x.shape[1:], classes=5, dense_units=64, seed=seed)
        transfer.append(accuracy(head, train, test, seed))
        print(f"seed {seed}: from scratch {scratch[-1]:.1%}, on the frozen base {transfer[-1]:.1%}", flush=True)
    return scratch, transfer


def main() -> None:
    scratch, transfer = compare(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    print(f"mean: from scratch {np.mean(scratch):.1%}, on the frozen base {np.mean(transfer):.1%}")


if __name__ == "__main__":
    main()
