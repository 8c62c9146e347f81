"""Data that stays in a file: the same training as from memory, with only a few batches of it in memory at once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from training import assert_same_weights, dense, points, weights_of

from unidl import Trainer
from unidl.data import Split, streaming
from unidl.data import rows as reading
from unidl.errors import DataError
from unidl.training.order import chunks, epoch_order


@pytest.fixture
def mapped(tmp_path):
    """The rows of `points(90)` in files."""
    whole = points(90)
    for name in ("x", "y"):
        np.save(tmp_path / f"{name}.npy", getattr(whole, name))
    return Split(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "y")))


def test_what_lies_in_a_file_is_streamed(mapped):
    assert mapped.is_streamed
    assert Split(points(90).x, mapped.y).is_streamed
    assert not points(90).is_streamed


def test_what_would_fill_the_memory_is_streamed(monkeypatch):
    from unidl.machine.memory import Memory

    monkeypatch.setattr(streaming, "memory", lambda: Memory(10_000, 4_000))
    assert not points(200).is_streamed
    monkeypatch.setattr(streaming, "LARGE_BYTES", 100)
    assert points(200).is_streamed
    assert not points(100).is_streamed


def test_training_from_a_file_is_training_from_memory(backend, mapped):
    """To the last bit, with an order of its own in each epoch, a smaller last batch, validation and prediction."""
    found = []
    for data in (points(90), mapped):
        trainer = Trainer(dense(metrics=["mean_absolute_error"]))
        trainer.fit(data, validation=data, epochs=3, batch_size=4, progress="quiet")
        outputs = trainer.predict(data.x, batch_size=4)
        found.append(([*weights_of(trainer.model), outputs], trainer.history, trainer.evaluate(data, batch_size=4)))
    assert_same_weights(found[1][0], found[0][0])
    assert found[1][1:] == found[0][1:]


def test_a_file_is_not_looked_through_before_the_first_step(backend, mapped, tmp_path, monkeypatch):
    """It would take as long as an epoch; its rows are looked at as they are read."""
    monkeypatch.setattr(
        reading, "look_through", lambda array, *_: pytest.fail(f"{array.shape} is read before training")
    )
    trainer = Trainer(dense())
    trainer.fit(mapped, epochs=2, batch_size=4, progress="quiet")
    broken = np.array(mapped.x)
    broken[70, 1] = np.nan
    np.save(tmp_path / "broken.npy", broken)
    data = Split(np.load(tmp_path / "broken.npy", mmap_mode="r"), mapped.y)
    monkeypatch.undo()
    for call in (lambda: Trainer(dense()).fit(data, batch_size=4, progress="quiet"), lambda: trainer.evaluate(data)):
        with pytest.raises(DataError, match="x is nan in row 70 of the"):
            call()
    with pytest.raises(DataError, match="x is nan in row 70 of the input"):
        trainer.predict(data.x)


def test_chunks_hold_their_own_rows_and_no_others(mapped):
    """In one size: a program that is compiled for the rows of a whole chunk runs the last one as well."""
    order = epoch_order(90, seed=0, epoch=0, shuffle=True)
    seen = []
    for chunk in chunks(mapped, order, batch_size=4, steps=16):
        assert len(chunk.data.x) == (2 if chunk.rows.shape[1] == 2 else 64)
        for rows in chunk.rows:
            seen += chunk.data.x[rows].tolist()
    assert seen == mapped.x[order].tolist()


def test_chunks_are_as_short_as_asked(mapped):
    """A callback that looks at each batch gets each batch."""
    sizes = iter([1, 1, 5, 20, 20, 20, 20, 20, 20])
    found = [len(chunk.rows) for chunk in chunks(mapped, np.arange(90), batch_size=4, steps=lambda: next(sizes))]
    assert found == [1, 1, 1, 4, 8, 7, 1]
    assert {len(chunk.rows) for chunk in chunks(mapped, np.arange(90), batch_size=4, steps=1)} == {1}


def test_the_first_step_waits_for_the_rows_of_one_batch_only(mapped, monkeypatch):
    """With few files an epoch, the time to decode a whole chunk of them would be a tenth of it."""
    read = []
    original = streaming._read
    monkeypatch.setattr(streaming, "_read", lambda chunk, rows: read.append(len(chunk.rows)) or original(chunk, rows))
    list(chunks(mapped, np.arange(90), batch_size=2, steps=16))
    assert read == [1, 2, 4, 8, 16, 14]


def test_only_a_few_chunks_are_read_ahead(mapped, monkeypatch):
    """Reading on and on would hold the whole file in memory."""
    read = []
    original = streaming._read

    def counted(chunk, rows):
        read.append(threading.current_thread().name)
        return original(chunk, rows)

    monkeypatch.setattr(streaming, "_read", counted)
    stream = chunks(mapped, np.arange(90), batch_size=1, steps=16)
    next(stream)
    next(stream)
    stream.close()
    assert 2 <= len(read) <= 2 + streaming.AHEAD
    assert all(name.startswith("unidl-read-ahead") for name in read)
    assert not any(thread.name.startswith("unidl-read-ahead") for thread in threading.enumerate())


def test_an_error_in_reading_is_told_where_the_rows_are_needed(mapped, monkeypatch):
    def broken(chunk, rows):
        raise OSError("the disk is gone")

    monkeypatch.setattr(streaming, "_read", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(chunks(mapped, np.arange(90), batch_size=2, steps=2))


def test_how_long_steps_wait_for_rows_is_counted(mapped, monkeypatch):
    """After what the device still computes: only then does it stand idle."""
    original, events = streaming._read, []

    def slow(chunk, rows):
        time.sleep(0.02)
        return original(chunk, rows)

    monkeypatch.setattr(streaming, "_read", slow)
    waiting = streaming.Waiting(lambda: events.append("settled"))
    assert len(list(chunks(mapped, np.arange(90), batch_size=1, steps=16, waiting=waiting))) > 2
    assert waiting.seconds >= 0.02
    assert events
