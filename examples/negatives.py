"""Read negatives of digits from few labelled images, with a network that has learned to read positives.

Black and white are exchanged, so that what the first layer gives is wrong, and what the others do with it is right. No
head can make up for that on frozen features. In stages, the first layer alone learns at first, with a high learning
rate, and then everything learns with a low one: for a change of the inputs, tune the first layers (Lee et al. 2022,
"Surgical fine-tuning"). Measured on torch with 5 images a digit, mean of 3 seeds, on one of which the rates of the
stages were chosen: a new head alone 3.6%, everything at the best of three rates 72.4%, in stages 84.0%.

    python examples/negatives.py [SEEDS [EPOCHS [LABELS ...]]]    LABELS: labelled images of each digit
"""

import sys

import numpy as np
from scipy import ndimage

from unidl import Stage, Trainer, build_cnn, fit_stages, load_data

SIZE, FILTERS = 18, (16, 32, 32)
"""Height and width of an image, in pixels, and the filters of the network."""
FIRST_ALONE = dict.fromkeys(("conv_2", "conv_3", "dense", "logits"), 0.0)
"""Factors of the learning rate with which only the first layer learns."""


def methods(epochs: int) -> dict[str, list[Stage]]:
    """Return what each method trains, for as many epochs in all."""
    half = max(1, epochs // 2)
    return {
        "new head": [Stage(epochs, "dense", learning_rate=1e-3)],
        "all, at 1e-3": [Stage(epochs, "all", learning_rate=1e-3)],
        "all, at 3e-3": [Stage(epochs, "all", learning_rate=3e-3)],
        "all, at 1e-2": [Stage(epochs, "all", learning_rate=1e-2)],
        "in stages": [
            Stage(half, "all", learning_rate=3e-2, rate_factors=FIRST_ALONE),
            Stage(max(1, epochs - half), "all", learning_rate=1e-3),
        ],
    }


def turned(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rotate each image by up to 20 degrees, and add noise. images: (count, height, width, 1), values from 0 to 1."""
    rotated = [ndimage.rotate(image, generator.uniform(-20, 20), reshape=False, order=1) for image in images]
    noise = generator.normal(scale=0.05, size=images.shape)
    return np.clip(np.stack(rotated) + noise, 0, 1).astype("float32")


def pretrained(x: np.ndarray, y: np.ndarray, epochs: int):
    """Train a CNN on eight copies of each positive."""
    model, rows = build_cnn(x.shape[1:], filters=FILTERS), np.repeat(np.arange(len(y)), 8)
    Trainer(model).fit(
        turned(x[rows], np.random.default_rng(0)), y[rows], epochs=epochs, batch_size=64, progress="quiet"
    )
    return model


def compare(seeds: int, labels: int, epochs: int = 30) -> dict[str, list[float]]:
    """Return the accuracies of each method on negatives, one a seed."""
    digits = load_data("digits", image_size=(SIZE, SIZE))
    x, y = (np.concatenate([getattr(part, name) for part in (digits.train, digits.test)]) for name in "xy")
    order = np.random.default_rng(0).permutation(len(y))
    known, others = order[:1000], order[1000:]
    base = pretrained(x[known], y[known], max(1, epochs // 5))
    found = {method: [] for method in methods(epochs)}
    for seed in range(seeds):
        generator = np.random.default_rng(100 + seed)
        rows = generator.permutation(others)
        few = np.concatenate([rows[y[rows] == digit][:labels] for digit in range(10)])
        train, test = ((1 - turned(x[part], generator), y[part]) for part in (few, np.setdiff1d(rows, few)))
        for method, stages in methods(epochs).items():
            model = build_cnn(x.shape[1:], filters=FILTERS)
            model.set_weights(base.get_weights())
            trainer = fit_stages(model, train, stages=stages, batch_size=10, seed=seed, progress="quiet")
            found[method].append(trainer.evaluate(*test)["accuracy"])
    return found


def main() -> None:
    seeds, epochs, *labels = (*map(int, sys.argv[1:]), *(5, 30)[len(sys.argv) - 1 :])
    for count in labels or (5,):
        print(f"{count} labelled negatives of each digit, {seeds} seeds: accuracy")
        for method, accuracies in compare(seeds, count, epochs).items():
            print(f"  {method:12}  {np.mean(accuracies):6.1%} ± {np.std(accuracies):.1%}", flush=True)


if __name__ == "__main__":
    main()
