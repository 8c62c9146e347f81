"""Arrays in .npy files: as in memory, row for row, with nothing read before it is needed. Else a file that is larger
than the memory cannot be trained on, or is trained on with other labels."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_weights, weights_of

from unidl import Trainer, build_cnn, load_data
from unidl.data.fingerprint import fingerprint
from unidl.errors import DataError


@pytest.fixture
def arrays(tmp_path):
    y = np.arange(30) % 3
    x = (np.random.default_rng(0).integers(0, 60, (30, 8, 8, 1)) + 90 * y[:, None, None, None]).astype(np.uint8)
    np.save(tmp_path / "x_all.npy", x)
    np.save(tmp_path / "y_all.npy", y)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    return tmp_path


def test_a_mapped_file_trains_as_the_same_in_memory(backend, arrays):
    mapped, whole = load_data(arrays / "x_all.npy"), load_data(arrays / "a.npz")
    assert mapped.train.is_streamed
    assert mapped.kind == whole.kind == "images"
    assert mapped.class_names == whole.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(mapped.test.y, whole.test.y)
    found = []
    for data in (mapped, whole):
        model = build_cnn((8, 8, 1), 3, filters=(4,), dense_units=4)
        Trainer(model).fit(data.train, validation=data.test, batch_size=4, progress="quiet")
        found.append(weights_of(model))
    assert_same_weights(found[0], found[1], 2e-6)


def test_other_values_are_other_data(arrays):
    data = load_data(arrays / "x_all.npy")
    origin, before = data.origin, fingerprint(training=data.train)
    x = np.load(arrays / "x_all.npy")
    x[3] += 1
    np.save(arrays / "x_all.npy", x)
    after = load_data(arrays / "x_all.npy")
    assert after.origin["sha256"] != origin["sha256"]
    assert fingerprint(training=after.train) != before


def test_numbers_to_predict_are_divided_as_they_come(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20.0).reshape(10, 2))
    np.save(tmp_path / "y.npy", np.arange(10) / 3)
    data = load_data(tmp_path / "x.npy", test_fraction=0.3)
    assert (len(data.train), len(data.test), data.kind) == (7, 3, "arrays")
    np.testing.assert_allclose(np.asarray(data.test.x)[:, 0] / 6, data.test.y, rtol=1e-6)


def test_files_that_make_no_data_set_say_why(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"holds x alone\. Put y beside it"):
        load_data(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"x\.npy' has 4 rows and '.*y\.npy' 3"):
        load_data(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.array(["a", "b"]))
    with pytest.raises(DataError, match="must hold an array of numbers"):
        load_data(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"Cannot read '.*x\.npy': .* Write it with numpy\.save"):
        load_data(tmp_path / "x.npy")
