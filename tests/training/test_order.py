"""The order of the data, on which the equality of the backends rests: with another one no two of them agree."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from training import points

from unidl.training.order import Epochs, chunks, epoch_order


def test_the_order_is_this_one_everywhere():
    """Written down once: a person who repeats a run in a year, or on another backend, meets the same batches."""
    assert epoch_order(12, seed=0, epoch=0, shuffle=True).tolist() == [6, 3, 2, 10, 5, 11, 8, 1, 7, 0, 9, 4]
    assert epoch_order(12, seed=0, epoch=1, shuffle=True).tolist() == [1, 10, 3, 5, 9, 6, 4, 0, 7, 8, 2, 11]
    assert epoch_order(12, seed=1, epoch=0, shuffle=True).tolist() == [4, 9, 3, 1, 0, 10, 5, 7, 11, 2, 6, 8]


def test_long_orders_are_these_everywhere():
    """The order of a real run as batches, for several epochs and seeds."""
    data, found = points(10_000), hashlib.sha256()
    for seed in (0, 1, 2**31):
        for epoch in range(5):
            order = epoch_order(len(data), seed=seed, epoch=epoch, shuffle=True)
            for chunk in chunks(data, order, batch_size=32, steps=16):
                found.update(chunk.rows.astype("<i8").tobytes())
    assert found.hexdigest() == "5a9a51653f14f22f4ff497d08fb2bbfec10a5115339349ca30766395b99f00a4"


def test_without_shuffling_rows_come_as_they_lie():
    for seed, epoch in ((0, 0), (3, 7)):
        assert epoch_order(5, seed=seed, epoch=epoch, shuffle=False).tolist() == [0, 1, 2, 3, 4]


@given(count=some.integers(1, 200), seed=some.integers(-(2**40), 2**40), epoch=some.integers(0, 1000))
def test_every_row_comes_once(count: int, seed: int, epoch: int):
    order = epoch_order(count, seed=seed, epoch=epoch, shuffle=True)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_seed_and_epoch_are_not_added_up():
    """Otherwise epoch 1 of seed 0 would repeat epoch 0 of seed 1, and two runs to compare would share their orders."""
    orders = {
        tuple(epoch_order(30, seed=seed, epoch=epoch, shuffle=True).tolist())
        for seed in range(10)
        for epoch in range(10)
    }
    assert len(orders) == 100


@given(rows=some.integers(1, 60), batch_size=some.integers(1, 20), steps=some.integers(1, 9))
def test_chunks_hold_the_order(rows: int, batch_size: int, steps: int):
    """A row left out is never learnt."""
    data = points(rows)
    order = epoch_order(rows, seed=0, epoch=0, shuffle=True)
    cut = list(chunks(data, order, batch_size=batch_size, steps=steps))
    assert np.concatenate([chunk.rows.reshape(-1) for chunk in cut]).tolist() == order.tolist()
    assert all(chunk.data is data for chunk in cut)
    full, rest = divmod(rows, batch_size)
    expected = [(steps, batch_size)] * (full // steps)
    expected += [(full % steps, batch_size)] * (full % steps > 0) + [(1, rest)] * (rest > 0)
    assert [chunk.rows.shape for chunk in cut] == expected


@pytest.mark.parametrize(
    ("rows", "shapes"),
    [(8, [(2, 4)]), (3, [(1, 3)]), (27, [(2, 4), (2, 4), (2, 4), (1, 3)]), (15, [(2, 4), (1, 4), (1, 3)])],
)
def test_chunks_are_as_long_as_they_can_be(rows: int, shapes: list[tuple[int, int]]):
    cut = chunks(points(rows), np.arange(rows), batch_size=4, steps=2)
    assert [chunk.rows.shape for chunk in cut] == shapes


def test_a_balanced_order_has_as_many_rows_of_each_class():
    """And none of a small class twice before all of it have come once."""
    labels = np.array([0] * 70 + [1] * 25 + [2] * 5)
    epochs = Epochs(100, 8, seed=3, shuffle="balanced", labels=labels)
    orders = [epochs.order(epoch) for epoch in range(3)]
    for order in orders:
        counts = np.bincount(labels[order])
        assert sorted(counts) == [33, 33, 34]
        times = [np.bincount(order, minlength=100)[labels == label] for label in range(3)]
        assert all(one.max() - one.min() <= 1 for one in times)
        assert np.bincount(labels[order[:30]]).min() >= 3, "mixed, and not class by class"
    assert orders[0].tolist() != orders[1].tolist()
    assert epochs.order(1).tolist() == orders[1].tolist()
