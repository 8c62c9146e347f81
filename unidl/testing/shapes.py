"""Tests of the forms of data: nests, chunks with their own rows, a smaller last batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unidl.backend import Batches, Chunk, TrainLoop
from unidl.testing.expecting import expect, expect_close, expect_loss
from unidl.testing.linear import LinearCase, NestedCase

if TYPE_CHECKING:
    import keras


class ShapesOfData:
    """A part of `unidl.testing.BackendConformance`, for adapters with the role Trains."""

    def test_nests_are_told_apart_by_their_keys(self) -> None:
        """Otherwise a model with two inputs and two outputs would be trained on mismatched rows and labels."""
        case = NestedCase(steps=2, batch=4)
        loop = self._loop(case.model, 2)
        outputs = loop.predict(Chunk(Batches(case.data.x), case.rows))
        expected = case.outputs(case.rows.reshape(-1))
        expect(set(outputs) == set(expected), f"a model with outputs {list(expected)} returns {list(outputs)}")
        for name, values in expected.items():
            expect_close(outputs[name], values)
        expect_loss(loop.test(Chunk(case.data, case.rows[:1])), case.loss(case.rows[0]))
        after = case.expected()
        loop.run(Chunk(case.data, case.rows))
        loop.commit()
        for name, weights in case.weights().items():
            for found, value in zip(weights, after[name], strict=True):
                expect_close(found, value)

    def test_each_chunk_may_bring_rows_of_its_own(self) -> None:
        """Data larger than memory arrives in pieces: the rows of an earlier chunk are then gone."""
        case = LinearCase(steps=4, batch=4)
        loop = self._loop(case.model, 2)
        for first in (0, 2):
            rows = case.rows[first : first + 2].reshape(-1)
            data = Batches(case.data.x[rows], case.data.y[rows])
            loop.run(Chunk(data, np.arange(8, dtype=np.int64).reshape(2, 4)))
            data.x[:], data.y[:] = np.nan, np.nan  # the buffer of the rows may be reused
        loop.commit()
        kernel, bias, _ = case.expected()
        expect_close(case.weights()[0], kernel)
        expect_close(case.weights()[1], bias)

    def test_what_is_left_over_counts_by_its_rows(self) -> None:
        """The loss of an epoch is the mean over its rows: a last batch of 2 counts half as much as one of 4."""
        case = LinearCase(steps=3, batch=4)
        loop = self._loop(case.model, 2)
        kernel, bias = case.weights()
        left = case.rows[2:, :2]
        loop.test(Chunk(case.data, case.rows[:2]))
        logs = loop.test(Chunk(case.data, left, partial=True))
        expect_loss(logs, case.loss(kernel, bias, np.concatenate([case.rows[:2].reshape(-1), left[0]])))
        outputs = loop.predict(Chunk(Batches(case.data.x), left, partial=True))
        expect_close(outputs, case.outputs(kernel, bias, left[0]))
        loop.reset_metrics()
        loop.run(Chunk(case.data, case.rows[:2]))
        loop.run(Chunk(case.data, left, partial=True))
        loop.commit()
        for rows in (*case.rows[:2], left[0]):
            kernel, bias, _ = case.stepped(kernel, bias, rows)
        expect_close(case.weights()[0], kernel)
        expect_close(case.weights()[1], bias)

    def _loop(self, model: keras.Model, steps: int) -> TrainLoop:
        """Return the adapter's loop; `BackendConformance` creates it."""
        raise NotImplementedError
