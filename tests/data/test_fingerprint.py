"""A run that goes on meets the data that it was begun with. Without this it goes on with yesterday's file under today's
name, and its figures belong to neither."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from training import points

from unidl.data import Split
from unidl.data.fingerprint import SAMPLED_ROWS, WHOLE_BYTES, difference, fingerprint

ROWS = WHOLE_BYTES // 16
"""Rows of 16 float32: four times the size that is hashed completely."""


def of(split: Split, validation: Split | None = None):
    """As it comes back from a checkpoint."""
    return json.loads(json.dumps(fingerprint(training=split, validation=validation)))


def changed(split: Split, part: str) -> Split:
    """The same data with one bit of one value flipped."""
    parts = {name: np.array(getattr(split, name)) for name in ("x", "y")}
    parts[part].view(np.uint8).reshape(-1)[-1] ^= 1
    return Split(**parts)


def test_every_difference_is_named():
    data, held_out = points(50), points(9, seed=1)
    then = of(data, held_out)
    assert difference(then, of(data, held_out)) is None
    for other, words in [
        (of(points(22), held_out), r"x of the training data had the shape (50, 3) then, and has (22, 3) now"),
        (of(Split(data.x.astype(np.float16), data.y), held_out), "had the type float32 then, and has float16 now"),
        (of(changed(data, "x"), held_out), "x of the training data holds other values, or rows in another order"),
        (of(changed(data, "y"), held_out), "y of the training data holds other values"),
        (of(Split(data.x[::-1], data.y), held_out), "x of the training data holds other values"),
        (of(Split(data.x, data.y, np.ones(50)), held_out), "there was no sample_weight of the training data then"),
        (of(Split({"a": data.x}, data.y), held_out), "there was no x['a'] of the training data then"),
        (of(data, changed(held_out, "y")), "y of the validation data holds other values"),
        (of(data), "there is no x of the validation data now"),
    ]:
        assert words in (difference(then, other) or ""), words


@given(some.integers(1, 40), some.integers(0, 39), some.integers(0, 7), some.sampled_from(["x", "y"]))
def test_one_bit_anywhere_shows_in_data_of_ordinary_size(rows, place, bit, part):
    data = points(rows)
    parts = {"x": data.x.copy(), "y": data.y.copy()}
    places = parts[part].view(np.uint8).reshape(-1)
    places[place % len(places)] ^= 1 << bit
    assert difference(of(data), of(Split(**parts))) is not None


def test_the_same_numbers_are_the_same_data_however_they_lie():
    """A run may be begun from a list, in the order of Fortran, on a machine of the other byte order, or from a file."""
    x, y = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4, dtype=np.int32)
    expected = of(Split(x, y))
    for other in (np.asfortranarray(x), x.astype(np.float64), x.astype(">f4"), np.repeat(x, 2, axis=0)[::2]):
        assert of(Split(other, y)) == expected


def test_data_too_large_to_read_is_known_by_a_sample_of_its_rows(tmp_path):
    """From a file nothing but these rows is read: the others are what this can miss."""
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(ROWS, 16))
    y = np.zeros(ROWS, np.int8)
    then = of(Split(np.load(path, mmap_mode="r"), y))
    rows = np.random.default_rng(0).choice(ROWS, size=ROWS // 100, replace=False)
    x[rows] += 1
    x.flush()
    assert "x of the training data" in (difference(then, of(Split(np.load(path, mmap_mode="r"), y))) or "")
    assert of(Split(np.array(x), y)) == of(Split(np.load(path, mmap_mode="r"), y)), "a file and its copy are alike"
    y[ROWS // 2] = 1
    assert "y of the training data" in (difference(then, of(Split(np.zeros((ROWS, 16), np.float32), y))) or "")


@pytest.mark.parametrize("shape", [(3 * WHOLE_BYTES, 1), (3, WHOLE_BYTES), (5, 0)])
def test_rows_of_any_size_are_sampled_within_the_limit(monkeypatch, shape):
    """One row alone may be larger than the limit."""
    from unidl.data import fingerprint as module

    read: list[int] = []
    real = module.hashlib.sha256
    monkeypatch.setattr(module.hashlib, "sha256", lambda content: read.append(len(content)) or real(content))
    of(Split(np.zeros(shape, np.uint8)))
    assert read[0] <= max(WHOLE_BYTES, shape[1])
    assert read[0] <= SAMPLED_ROWS * max(shape[1], 1)
