"""No number reaches a model as another one: a time of 1.7e12 ms wraps to -8.07e8 where a backend has no int64, and a
person trains on noise without a word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from unidl import Trainer
from unidl.data import Split
from unidl.data.fingerprint import fingerprint
from unidl.data.numbers import computed, computed_type
from unidl.data.rows import first_bad
from unidl.data.streaming import is_mapped
from unidl.data.whole_numbers import range_held
from unidl.errors import DataError

WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
OTHERS = ("float16", "float32", "float64", ">f8", ">f4", ">i4", ">u2", ">i8", "longdouble")
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
"""JAX says so of each input of int64, which it has not; that no number of such an input wraps is tested here."""

TIME = 1_700_000_000_000


@pytest.fixture(scope="module")
def keras(backend):
    import keras

    return keras


@pytest.fixture(scope="module")
def same(keras):
    """A function that predicts with a model that gives what it takes, one for each type of its input."""
    trainers = {}

    def predict(x, dtype="float32"):
        if dtype not in trainers:
            inputs = keras.Input((3,), dtype=dtype)
            model = keras.Model(inputs, keras.ops.reshape(inputs, (-1, 3)))
            model.compile("sgd", "mse")
            trainers[dtype] = Trainer(model)
        return trainers[dtype].predict(x)

    return predict


def numbers(dtype):
    if np.dtype(dtype).kind == "f":
        return some.floats(-60_000, 60_000).map(lambda value: float(np.float32(value)))
    limits = np.iinfo(dtype)
    return some.integers(int(limits.min), int(limits.max)) | some.sampled_from([int(limits.min), int(limits.max)])


@settings(max_examples=60, deadline=None)
@given(drawn=some.data(), dtype=some.sampled_from(WHOLE + OTHERS))
def test_an_input_of_floats_gets_the_float_of_every_number(same, drawn, dtype):
    x = np.array([drawn.draw(some.lists(numbers(dtype), min_size=3, max_size=3))], dtype)
    np.testing.assert_array_equal(same(x), x.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(drawn=some.data(), dtype=some.sampled_from(WHOLE), wanted=some.sampled_from(("int32", "int64", "uint8")))
def test_an_input_of_whole_numbers_gets_the_number_or_nothing(same, drawn, dtype, wanted):
    x = np.array([drawn.draw(some.lists(numbers(dtype), min_size=3, max_size=3))], dtype)
    low, high = range_held(np.dtype(wanted))
    if x.min() >= low and x.max() <= high:
        np.testing.assert_array_equal(same(x, wanted).astype(object), x.astype(object))
    else:
        with pytest.raises(DataError, match=rf"in row 0 of the input; the model's {wanted} input takes whole"):
            same(x, wanted)


def test_a_number_too_large_for_the_input_is_named_with_its_row(same):
    x = np.zeros((5, 3))
    x[3, 1] = 3e9
    with pytest.raises(DataError, match=r"x is 3e\+09 in row 3 of the input.*-2147483648 to 2147483647\. Renumber the"):
        same(x, "int32")
    x[3, 1] = 2**31
    with pytest.raises(DataError, match="in row 3"):
        same(x, "int32")
    x[3, 1] = -(2**31)
    assert same(x, "int32")[3, 1] == -(2**31)


def test_remainders_of_large_numbers_are_right_or_refused(keras):
    x = np.array([[TIME + 123, 2**33, 7]])
    inputs = keras.Input((3,), dtype="int64")
    model = keras.Model(inputs, keras.ops.mod(inputs, 1000))
    model.compile("sgd", "mse")
    if range_held(np.dtype("int64"))[1] == 2**63 - 1:
        np.testing.assert_array_equal(Trainer(model).predict(x), x % 1000)
    else:
        with pytest.raises(DataError, match=r"x is 1700000000123 in row 0 .* on this backend.*numpy\.unique\(x, "):
            Trainer(model).predict(x)


def test_a_model_whose_inputs_nobody_knows_computes_on_the_numbers_or_refuses(keras):
    class Unknown(keras.Model):
        def call(self, inputs):
            return keras.ops.cast(inputs, "float32")

    model = Unknown()
    model.compile("sgd", "mse")
    trainer = Trainer(model)
    x = np.array([[TIME, 2**33, 7]])
    np.testing.assert_array_equal(trainer.predict(x % 2**31), (x % 2**31).astype(np.float32))
    np.testing.assert_array_equal(trainer.predict(x.astype(np.float64)), x.astype(np.float32))
    if range_held(x.dtype)[1] == 2**63 - 1:
        np.testing.assert_array_equal(trainer.predict(x), x.astype(np.float32))
    else:
        with pytest.raises(DataError, match=r"x is 1700000000000 in row 0 .*Pass x\.astype\('float32'\)"):
            trainer.predict(x)


def test_targets_and_weights_are_what_they_are_as_floats(keras):
    def history(y, weights):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
        model.compile(keras.optimizers.SGD(0.0), "mae", metrics=["mae"])
        return Trainer(model).fit((np.ones((6, 2)), y, weights), epochs=1, progress="quiet").history

    y, weights = np.full((6, 1), TIME), np.full(6, 2**33)
    expected = history(y.astype(np.float32), weights.astype(np.float32))
    assert history(y, weights) == expected
    assert history(y.astype(np.uint64), weights.astype(np.uint64)) == expected
    assert expected["mae"][0] == pytest.approx(TIME, rel=1e-5)
    assert expected["loss"][0] == pytest.approx(float(TIME) * 2**33, rel=1e-5)


def test_records_are_no_numbers():
    x = np.zeros(4, dtype=[("age", "i4"), ("size", "f4")])
    with pytest.raises(
        DataError, match=r"x is not an array of numbers but of records \(age, size\)\. .*structured_to_un"
    ):
        Split(x)


@given(some.sampled_from(WHOLE + OTHERS + ("bool", "<U3")))
def test_the_type_to_compute_with_is_native_and_no_wider_than_float32(dtype):
    found = computed_type(np.dtype(dtype))
    assert found.isnative
    assert found.kind == np.dtype(dtype).kind
    assert found.kind != "f" or found.itemsize <= 4
    array = np.zeros(3, found)
    assert computed(array) is array


def test_bfloat16_stays_as_it_is():
    import ml_dtypes

    array = np.ones((2, 3), ml_dtypes.bfloat16)
    assert Split(array).x is array


@pytest.fixture
def in_a_file(tmp_path):
    """A function that writes an array and maps the file into memory."""

    def write(array, name="x"):
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    return write


@pytest.mark.parametrize("dtype", [np.float64, ">f8", ">f4", "longdouble"])
def test_a_file_is_read_row_by_row_whatever_its_type(keras, in_a_file, dtype):
    """float64 is what NumPy writes if nobody says otherwise; read whole, it fills the memory."""
    x = np.random.default_rng(0).normal(size=(90, 3))
    y = x[:, :1] * 3
    mapped = Split(in_a_file(x.astype(dtype)), in_a_file(y.astype(dtype), "y"))
    held = Split(x.astype(dtype), y.astype(dtype))
    assert is_mapped(mapped.x)
    assert is_mapped(mapped.y)
    assert mapped.is_streamed
    assert not held.is_streamed
    assert held.x.dtype == np.float32
    found = []
    for data in (held, mapped):
        inputs = keras.Input((3,))
        dense = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Model(inputs, dense(inputs))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        trainer = Trainer(model)
        history = trainer.fit(data, validation=data, epochs=2, batch_size=8, progress="quiet").history
        outputs = trainer.predict(data.x)
        found.append((history, outputs.tolist(), [weight.tolist() for weight in model.get_weights()]))
    assert found[0] == found[1]
    assert fingerprint(training=mapped) == fingerprint(training=held)


def test_a_subclassed_model_is_built_from_a_row_of_a_file(keras, in_a_file):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert Trainer(model).predict(in_a_file(np.ones((4, 3)))).shape == (4, 1)


def test_what_overflows_in_a_file_is_named_with_its_row(same, in_a_file):
    x = np.zeros((9, 3))
    x[7, 0] = 1e300
    with pytest.raises(DataError, match="x is inf in row 7 of the input"):
        same(in_a_file(x))
    assert first_bad(in_a_file(x[:7]), np.isfinite) is None


def test_large_whole_numbers_of_a_file_are_right_or_refused(same, in_a_file):
    x = in_a_file(np.full((4, 3), TIME))
    if range_held(x.dtype)[1] == 2**63 - 1:
        np.testing.assert_array_equal(same(x), x.astype(np.float32))
    else:
        with pytest.raises(DataError, match=r"x is 1700000000000 in row 0 .* Store the file as float32 or float64"):
            same(x)


def test_an_array_too_large_to_copy_is_read_row_by_row(monkeypatch, same):
    from unidl.data import streaming
    from unidl.machine.memory import Memory

    x = np.random.default_rng(0).normal(size=(300, 3))
    monkeypatch.setattr(streaming, "LARGE_BYTES", 100)
    monkeypatch.setattr(streaming, "memory", lambda: Memory(100_000, 4 * x.nbytes))
    assert Split(x).x.dtype == np.float32
    monkeypatch.setattr(streaming, "memory", lambda: Memory(100_000, x.nbytes))
    split = Split(x)
    assert split.x is x
    monkeypatch.undo()
    assert split.is_streamed, "whatever memory has become free since"
    np.testing.assert_array_equal(same(split), x.astype(np.float32))
