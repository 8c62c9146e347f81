"""Mixup and CutMix are what their papers say, with the same numbers everywhere. Without this a model would learn labels
that its images do not have, or other images after a move to another backend."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from augmented import photographs

from unidl.errors import UsageError

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
keras = import_module("keras")
mixing = import_module("unidl.layers.mixing")

IMAGES = photographs(5, 8, 6).astype(np.float32) / 255
SAME = 1e-6
"""A product and a sum of numbers below 1, which compilers may round once or twice."""

SHARES = [0.9651629328727722, 0.56334388256073, 0.8333333134651184, 0.9583333134651184, 1.0, 0.9935048222541809]
SUMS = [67.06721003353596, 62.00744188204408, 68.92941343039274, 65.38823689892888, 67.50588401779532, 67.4240954183042]
"""The shares of labels in the first calls of a layer with seed 3, and the sums of the first image that comes out."""


class Steps(keras.Model):
    """A `Mixing` in training, in one compiled step; its share beside what it gives."""

    def __init__(self, mixes):
        super().__init__()
        self.layer = mixing.Mixing(mixes, seed=3)
        self.built = True  # else Keras calls it once on JAX, operation by operation, to build it

    def call(self, images):
        mixed = self.layer(images, training=True)
        return mixed, keras.ops.zeros(keras.ops.shape(images)[:1]) + self.layer.share


def several(mixes, images=IMAGES, count=4):
    """The mixed images and the share of each of so many calls."""
    model = Steps(mixes)
    found = [model.predict(images, batch_size=len(images), verbose=0) for _ in range(count)]
    return [(np.asarray(mixed, np.float64), float(shares[0])) for mixed, shares in found]


def test_mixup_adds_an_image_and_its_partner_in_proportion():
    for mixed, share in several(layers.Mixup(1.0)):
        assert 0.5 <= share <= 1
        np.testing.assert_allclose(mixed, share * IMAGES + (1 - share) * IMAGES[::-1], atol=SAME)


def test_cutmix_puts_one_box_of_the_partner_into_an_image_and_its_pixels_are_the_share():
    boxes = []
    for mixed, share in several(layers.CutMix(1.0), count=8):
        other = np.abs(mixed - IMAGES).max(axis=(0, 3)) > SAME
        boxes.append(share)
        assert 0.5 <= share <= 1
        assert share == pytest.approx(1 - other.mean(), abs=SAME)
        np.testing.assert_array_equal(mixed, np.where(other[None, :, :, None], IMAGES[::-1], IMAGES))
        box = other if np.argwhere(other).size == 0 or _is_box(other) else ~other
        assert _is_box(box)
    assert len(set(boxes)) > 4


def _is_box(inside):
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    return np.array_equal(inside, rows[:, None] & columns[None, :]) and all(
        np.abs(np.diff(np.pad(side.astype(int), 1))).sum() in (0, 2) for side in (rows, columns)
    )


def test_the_numbers_are_the_same_on_every_backend():
    """A run that moves goes on with the mixes that it would have had."""
    found = several([layers.Mixup(0.4), layers.CutMix(1.0, probability=0.8)], count=6)
    np.testing.assert_allclose([share for _, share in found], SHARES, atol=SAME)
    np.testing.assert_allclose([mixed[0].sum() for mixed, _ in found], SUMS, rtol=SAME)
    clips = np.repeat(IMAGES[:, None], 2, axis=1)
    for (mixed, _), (clip, _) in zip(found[:2], several(found_mixes(), clips, 2), strict=True):
        np.testing.assert_allclose(clip[:, 1], mixed, atol=SAME)


def found_mixes():
    return [layers.Mixup(0.4), layers.CutMix(1.0, probability=0.8)]


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.0, 100.0])
def test_shares_are_those_of_the_beta_distribution(alpha: float):
    """By its mean, its variance, and at 1 and 2 its distribution in a formula."""
    table = mixing._shares_of(alpha).astype(np.float64)
    assert np.all(np.diff(table) >= 0)
    assert table.mean() == pytest.approx(0.5, abs=1e-6)
    assert table.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=2e-3)
    likely = (np.arange(len(table)) + 0.5) / len(table)
    np.testing.assert_allclose(mixing._shares_of(1.0), likely, atol=1e-7)
    two = mixing._shares_of(2.0).astype(np.float64)
    np.testing.assert_allclose(3 * two**2 - 2 * two**3, likely, atol=1e-6)


def test_in_inference_and_with_probability_zero_nothing_changes():
    layer = mixing.Mixing(layers.Mixup(1.0), seed=3)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(IMAGES))), IMAGES)
    for mixed, share in several(layers.CutMix(probability=0.0), count=2):
        assert share == 1
        np.testing.assert_array_equal(mixed, IMAGES)


def test_bytes_stay_bytes():
    images = photographs(4, 8, 6)
    ((mixed, share),) = several(layers.Mixup(1.0), images, 1)
    exact = share * images.astype(np.float64) + (1 - share) * images[::-1]
    assert np.abs(mixed - exact).max() <= 0.5 + 1e-4
    assert np.array_equal(mixed, np.rint(mixed))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Mixup(0.0), r"Cannot use Mixup\(alpha=0.0\): it must be a number from 0.01 to 100"),
        (lambda: layers.CutMix(True), "it must be a number from 0.01"),
        (lambda: layers.CutMix(probability=1.5), r"probability=1.5\): it must be a number from 0 to 1"),
        (lambda: mixing.mixes_of("mixup"), r"Cannot mix with 'mixup': give unidl.layers.Mixup\(0.2\)"),
        (lambda: mixing.mixes_of([]), r"give Mixup, CutMix, or both, each once"),
        (lambda: mixing.mixes_of([layers.CutMix(), layers.CutMix(0.5)]), "each once"),
        (lambda: mixing.mixes_of({"mix": "blend"}), "what `to_config` of a mix gives"),
    ],
)
def test_what_cannot_be_is_refused(make, said: str):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_mix_goes_through_its_config():
    mixes = layers.Mixup(0.2, 0.5), layers.CutMix()
    assert mixing.mixes_of([mix.to_config() for mix in mixes]) == mixes
