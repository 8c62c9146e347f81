"""How often data is read before it is trained on. Without this each new check costs one more pass over a file that is
larger than the memory, and training on it begins minutes later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unidl import Trainer
from unidl.data.dataset import Split
from unidl.data.rows import FirstBad, Reading, look_through
from unidl.data.value_range import SIGNED, UNIT, ask_range, range_of
from unidl.errors import DataError
from unidl.training.fitting import Fit

ROWS, BATCH = 2000, 8


class Counted(np.ndarray):
    """An array that counts its rows that are read, one by one or as a whole."""

    read = 0

    def _plain(self, rows: int) -> np.ndarray:
        self.read += rows
        return self.view(np.ndarray)

    def __getitem__(self, index: Any) -> Any:
        found = self.view(np.ndarray)[index]
        self.read += len(found) if found.ndim == self.ndim else 1
        return found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [one._plain(len(one)) if isinstance(one, Counted) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        plain = [one._plain(len(one)) if isinstance(one, Counted) else one for one in arguments]
        return function(*plain, **options)

    def astype(self, *arguments: Any, **options: Any) -> Any:
        return self._plain(len(self)).astype(*arguments, **options)


def counted(split: Split) -> Split:
    """The split, whose arrays count."""
    for part in ("x", "y", "sample_weight"):
        array = getattr(split, part)
        if array is not None:
            object.__setattr__(split, part, array.view(Counted))
    return split


def images(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (rows, 4, 4, 1)).astype(np.float32)


def of_images(keras: Any) -> tuple[Any, Split, str]:
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    y = np.arange(ROWS) % 3  # int64, which a backend may lack
    return keras.Sequential(layers), Split(images(), y, np.ones(ROWS)), "sparse_categorical_crossentropy"


def of_tokens(keras: Any) -> tuple[Any, Split, str]:
    inputs = keras.Input((5,), dtype="int32")
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Embedding(7, 2)(inputs)))
    x = np.random.default_rng(0).integers(0, 7, (ROWS, 5))
    return keras.Model(inputs, outputs), Split(x, x[:, :1].astype(np.float32)), "mse"


def of_signs(keras: Any) -> tuple[Any, Split, str]:
    model = keras.Sequential([keras.layers.Dense(1)])  # gets its weights only when it sees the data
    y = np.where(np.arange(ROWS) % 2, 1.0, -1.0)[:, None]
    return model, Split(np.ones((ROWS, 4)), y), "hinge"


@pytest.mark.parametrize("kind", [of_images, of_tokens, of_signs])
def test_each_array_is_read_once_before_training(backend, monkeypatch: pytest.MonkeyPatch, kind):
    import keras

    model, training, loss = kind(keras)
    validation = kind(keras)[1]
    model.compile("sgd", loss)
    monkeypatch.setattr(Fit, "run", lambda self, title: self)  # all of `fit` but the training itself
    Trainer(model).fit(counted(training), batch_size=BATCH, validation_data=counted(validation), progress="quiet")
    for split in (training, validation):
        for array in (split.x, split.y, split.sample_weight):
            # Beside the pass, the first batch makes the variables of a model that has none.
            assert array is None or ROWS <= array.read <= ROWS + 3 * BATCH


def test_a_second_pass_would_be_counted():
    split = counted(Split(images(10)))
    look_through(split.x, FirstBad(np.isfinite))
    assert split.x.read == 10
    look_through(split.x, FirstBad(np.isfinite))
    assert split.x.read == 20
    assert np.isfinite(split.x).all()
    assert split.x.read == 30


def test_all_that_is_asked_of_an_array_is_answered_by_one_pass():
    reading, x = Reading(), images(50)
    x[7, 0, 0, 0], x[9, 0, 0, 0] = np.nan, -0.5
    split, said = counted(Split(x)), []
    finite = reading.first_bad(split.x, np.isfinite)
    positive = reading.first_bad(split.x, lambda block: ~(block < 0))
    whole = reading.first_bad(split.x, lambda block: block < 2)
    reading.then(lambda: said.append(finite.found))
    reading.read()
    assert split.x.read == 50
    assert (finite.found, positive.found, whole.found) == ((7, "nan"), (9, "-0.5"), (7, "nan"))
    assert said == [(7, "nan")]


def test_answers_are_heard_in_the_order_of_the_questions():
    reading = Reading()

    def fail() -> None:
        raise DataError("the first")

    reading.then(fail)
    reading.then(lambda: pytest.fail("heard although another has failed"))
    with pytest.raises(DataError, match="the first"):
        reading.read()


def test_only_some_images_are_read_where_nothing_else_is_asked():
    """Whole numbers need no look at each: of a file of a million images a thousand tell their range."""
    x = counted(Split(np.full((5000, 2, 2, 1), 200, np.uint8))).x
    assert range_of(x.view(np.ndarray)) == (0.0, 255.0)
    reading = Reading()
    answer = ask_range(reading, x)
    reading.read()
    assert answer() == (0.0, 255.0)
    assert x.read <= 1024


@pytest.mark.parametrize(("low", "expected"), [(0, UNIT), (-1, SIGNED)])
def test_the_range_is_the_same_whether_or_not_something_else_is_asked(low, expected):
    x = images(3000) * (1 - low) + low
    reading = Reading()
    reading.first_bad(x, np.isfinite)
    answer = ask_range(reading, x)
    reading.read()
    assert answer() == range_of(x) == expected
