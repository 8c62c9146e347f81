"""Windows over series: the right steps with the right targets. One step off, and a model is shown what it is to
predict: its test is perfect, and it is worth nothing."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_weights, weights_of

from unidl import Trainer
from unidl.data import Windows
from unidl.data.recognising import as_split
from unidl.errors import DataError, UsageError

SERIES = np.stack([np.arange(20.0), 100 + np.arange(20.0)], axis=1)


def read(windows):
    split = as_split(windows)
    return np.asarray(split.x), np.asarray(split.y)


def test_a_window_is_followed_by_its_target():
    x, y = read(Windows(SERIES, 4))
    assert x.shape == (16, 4, 2)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(x[3], SERIES[3:7])
    np.testing.assert_array_equal(y, SERIES[4:])
    x, y = read(Windows(SERIES[:, 0], 4, horizon=3, stride=5))
    assert x[..., 0].tolist() == [[0, 1, 2, 3], [5, 6, 7, 8], [10, 11, 12, 13]]
    assert y[:, 0].tolist() == [6, 11, 16]
    labels = np.arange(20) % 3
    x, y = read(Windows(SERIES, 4, targets=labels, horizon=0, each_step=True))
    assert x.shape == (17, 4, 2)
    np.testing.assert_array_equal(y[5], labels[5:9])


def test_a_series_in_a_file_is_not_copied(tmp_path, backend):
    import keras

    np.save(tmp_path / "a.npy", SERIES.astype(np.float32))
    mapped = Windows(np.load(tmp_path / "a.npy", mmap_mode="r"), 4)
    found = []
    for data in (mapped, read(Windows(SERIES, 4))):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten(), keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(1e-6), "mse")
        Trainer(model).fit(data, batch_size=4, epochs=2, validation_split=0.25, progress="quiet")
        found.append(weights_of(model))
    assert_same_weights(found[0], found[1])
    other = SERIES.copy()
    other[7] += 1
    assert Windows(other, 4).fingerprint() != Windows(SERIES, 4).fingerprint() == Windows(SERIES, 4).fingerprint()
    assert Windows(SERIES, 4, stride=2).fingerprint() != Windows(SERIES, 4).fingerprint()


def test_what_makes_no_windows():
    with pytest.raises(DataError, match=r"has 20 steps, and a window of 18 with a target 3 behind it needs 21"):
        Windows(SERIES, 18, horizon=3)
    with pytest.raises(DataError, match="the series has 20, targets 19"):
        Windows(SERIES, 4, targets=np.zeros(19))
    with pytest.raises(DataError, match=r"not float64 of shape \(2, 2, 2\)"):
        Windows(np.zeros((2, 2, 2)), 1)
    with pytest.raises(UsageError, match="length must be a whole number of at least 1, not 0"):
        Windows(SERIES, 0)
