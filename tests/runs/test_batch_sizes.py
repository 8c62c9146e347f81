"""The search for a batch size: it ends where memory does, and says the largest size and the fastest."""

from __future__ import annotations

import numpy as np
import pytest

from unidl.errors import UnidlError
from unidl.runs import RunConfiguration
from unidl.runs.batch_sizes import Tried, in_a_process, resident_bytes, search_batch_size


def machine(most, speed=lambda size: size / (1 + size / 64), failure="out of memory: Killed"):
    """What tries sizes on a machine on which batches of `most` rows are the largest."""

    def attempt(size):
        if size > most:
            return Tried(size, failure=failure)
        return Tried(size, speed(size), size * 1000)

    return attempt


def quiet(one):
    """What nobody is told."""


def test_sizes_double_until_the_memory_is_not_enough():
    told = []
    found = search_batch_size(machine(100), first=8, tell=told.append)
    assert [one.batch_size for one in found.tried] == [8, 16, 32, 64, 128] == [one.batch_size for one in told]
    assert (found.largest, found.fastest) == (64, 64)
    assert found.to_json()["tried"][-1]["failure"] == "out of memory: Killed"


def test_bisecting_finds_the_largest_to_a_sixteenth():
    found = search_batch_size(machine(100), first=8, bisect=True, tell=quiet)
    assert found.largest == 100
    assert [one.batch_size for one in found.tried] == sorted(one.batch_size for one in found.tried)


def test_of_sizes_that_are_as_fast_the_smaller_one_is_told():
    found = search_batch_size(machine(1000, speed=lambda size: min(size, 32)), first=8, tell=quiet)
    assert (found.largest, found.fastest) == (512, 32)
    assert search_batch_size(machine(1000), first=8, largest=32, tell=quiet).largest == 32
    nothing = search_batch_size(machine(4), first=8, bisect=True, tell=quiet)
    assert (nothing.largest, nothing.fastest, len(nothing.tried)) == (None, None, 1)


def test_what_fails_for_another_reason_is_an_error():
    with pytest.raises(UnidlError, match="Batches of 8 cannot be tried: ended with exit code 1"):
        search_batch_size(machine(1, failure="ended with exit code 1"), first=8, tell=quiet)


def test_each_size_has_a_process_of_its_own(backend, tmp_path):
    """One that fits, and one that is allowed less memory than any framework takes."""
    drawn = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=drawn.random((12, 18, 18, 1), np.float32), y=np.arange(12) % 3)
    run = RunConfiguration.of(model="cnn", data=str(tmp_path / "rows.npz"))
    where = {"backend": backend.name, "device": "cpu", "precision": None}
    found = in_a_process(run, where, steps=1)(32)
    assert found.fits, found.failure
    assert found.rows_per_second > 0
    refused = in_a_process(run, where, most_bytes=20 * 2**20)(32)
    assert refused.failure == "out of memory: it took more than the 20 MiB allowed"
    assert resident_bytes(2**22 + 1) is None
