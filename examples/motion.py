"""Classify short clips by the direction in which a bright square moves through noise.

No single frame shows the direction. With the frames of each clip in random order they show whether the square moves
sideways or up and down, but not which way: the same model is then right half the time, as well as anything can be.

    python examples/motion.py [EPOCHS [CLIPS]]
"""

import sys

import numpy as np

from unidl import Trainer

import keras  # isort: skip - after unidl, which selects the backend

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
FRAMES, SIZE, SQUARE = 6, 16, 4


def clips(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return clips (count, frames, height, width, channels) with values from 0 to 1, and their directions, (count,)."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 0.4, size=(count, FRAMES, SIZE, SIZE, 1)).astype("float32")
    y = generator.integers(0, len(DIRECTIONS), size=count)
    starts, moves = generator.integers(0, SIZE, size=(count, 2)), np.array(list(DIRECTIONS.values()))[y]
    for clip, start, move in zip(x, starts, moves, strict=True):
        for time, frame in enumerate(clip):
            rows, columns = (place + time * step + np.arange(SQUARE) for place, step in zip(start, move, strict=True))
            frame[np.ix_(rows % SIZE, columns % SIZE)] += 0.6  # what leaves on one side returns on the other
    return x, y


def without_order(x: np.ndarray, seed: int) -> np.ndarray:
    """Return the clips, each with its frames in random order."""
    generator = np.random.default_rng(seed)
    return np.stack([clip[generator.permutation(FRAMES)] for clip in x])


def build() -> keras.Model:
    """Build a small convolutional network over time, height and width."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((FRAMES, SIZE, SIZE, 1)),
        keras.layers.Conv3D(8, 3, activation="relu"),
        keras.layers.MaxPooling3D((1, 2, 2)),
        keras.layers.Conv3D(16, 3, activation="relu"),
        keras.layers.GlobalAveragePooling3D(),
        keras.layers.Dense(len(DIRECTIONS), activation="softmax"),
    ]
    return keras.Sequential(layers)


def accuracy(train: tuple, test: tuple, epochs: int) -> float:
    """Train on some clips and return the accuracy on others."""
    optimizer = keras.optimizers.Adam(5e-3)
    trainer = Trainer(build(), optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer.fit(*train, epochs=epochs, batch_size=32, progress="quiet")
    return trainer.evaluate(*test)["accuracy"]


def compare(epochs: int, count: int) -> dict[str, float]:
    """Return the accuracy with the frames in their order, and in random order."""
    (x, y), (test_x, test_y) = clips(count, seed=0), clips(400, seed=1)
    mixed = (without_order(x, seed=2), y), (without_order(test_x, seed=3), test_y)
    return {
        "frames in their order": accuracy((x, y), (test_x, test_y), epochs),
        "frames in random order": accuracy(*mixed, epochs),
    }


def main() -> None:
    epochs, count = (*map(int, sys.argv[1:]), *(15, 1600)[len(sys.argv) - 1 :])
    for name, value in compare(epochs, count).items():
        print(f"{name:22}  accuracy {value:6.1%}")


if __name__ == "__main__":
    main()
