"""Metrics as adapters hand them over. Without this a metric with several values is cut to one, or a dict left as it
is, which no History can hold."""

from __future__ import annotations

import numpy as np

from unidl.logs import plain_logs


def test_numbers_are_floats_several_values_arrays_and_dicts_taken_apart():
    logs = {"loss": np.float32(0.5), "by_class": np.array([1.0, 2.0]), "both": {"precision": 1, "recall": np.ones(())}}
    found = plain_logs(logs, np.asarray)
    assert list(found) == ["loss", "by_class", "precision", "recall"]
    assert [type(found[name]) for name in ("loss", "precision", "recall")] == [float] * 3
    np.testing.assert_array_equal(found["by_class"], [1.0, 2.0])
