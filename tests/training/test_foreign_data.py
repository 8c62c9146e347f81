"""Data that people have already: a data set or a loader of PyTorch, a tf.data.Dataset, a PyDataset, a generator.

Without this a person has to write all of it into arrays first, which for large data they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from training import assert_same_weights, dense, points, weights_of

from unidl import Trainer, build_cnn
from unidl.data.recognising import as_split
from unidl.data.value_range import UNIT
from unidl.errors import DataError, UsageError
from unidl.models.records import record_of

ROWS, BATCH = 22, 4


def batches():
    """The rows of `points(22)` in six batches, the last of 2 rows."""
    data = points(ROWS)
    return [(data.x[first : first + BATCH], data.y[first : first + BATCH]) for first in range(0, ROWS, BATCH)]


class Numbered:
    """What has `len` and `[number]`: a PyTorch `Dataset`, one of Hugging Face's, a source of Grain's."""

    def __init__(self, form="pair"):
        self.form = form

    def __len__(self):
        return ROWS

    def __getitem__(self, number):
        if number >= ROWS:
            raise IndexError(number)
        data = points(ROWS)
        pair = data.x[number], data.y[number]
        return {"pair": pair, "list": list(pair), "dict": {"input": pair[0], "label": pair[1]}}[self.form]


class InBatches:
    """What begins anew each time, and does not say how long it is."""

    def __iter__(self):
        return iter(batches())


def pydataset(read=None):
    import keras

    class Rows(keras.utils.PyDataset):
        over = 0

        def __len__(self):
            return len(batches())

        def __getitem__(self, index):
            if read is not None:
                read.append(index)
            return batches()[index]

        def on_epoch_end(self):
            self.over += 1

    return Rows()


def of_the_framework(backend):
    data = points(ROWS)
    if backend.name == "torch":
        import torch

        tensors = torch.utils.data.TensorDataset(torch.tensor(data.x), torch.tensor(data.y))
        return [torch.utils.data.DataLoader(tensors, batch_size=BATCH), tensors]
    if backend.name == "tensorflow":
        import tensorflow as tf

        whole = tf.data.Dataset.from_tensor_slices((data.x, data.y)).batch(BATCH)
        return [whole, whole.filter(lambda x, y: True)]  # of the second nobody knows how many batches it has
    return [np.ones(3)][:0]


def result(data, *, shuffle=False, **options):
    trainer = Trainer(dense(metrics=["mean_absolute_error"]))
    options = {"epochs": 3, "progress": "quiet", "shuffle": shuffle} | options
    trainer.fit(data, **options)
    return trainer


@pytest.fixture(scope="module")
def expected(backend):
    return result(points(ROWS), batch_size=BATCH)


def assert_same(found, expected):
    assert_same_weights(weights_of(found.model), weights_of(expected.model))
    assert found.history == expected.history


def test_data_of_other_libraries_trains_as_arrays_do(backend, expected):
    assert_same(result(Numbered(), batch_size=BATCH), expected)
    for data in (pydataset(), InBatches(), *of_the_framework(backend)):
        numbered = as_split(data).y is not None and hasattr(data, "__getitem__") and not hasattr(data, "on_epoch_end")
        assert_same(result(data, **({"batch_size": BATCH} if numbered else {})), expected)


def test_it_validates_evaluates_and_predicts(backend, expected):
    data = points(ROWS)
    validated = result(data, batch_size=BATCH, validation_data=InBatches(), epochs=2).history
    assert validated["val_loss"] == result(data, batch_size=BATCH, validation_data=data, epochs=2).history["val_loss"]
    loss, outputs = expected.evaluate(data, batch_size=BATCH), expected.predict(data.x, batch_size=BATCH)
    for given in (Numbered("list"), Numbered("dict")):
        assert expected.evaluate(given, batch_size=BATCH) == loss
        np.testing.assert_array_equal(expected.predict(given, batch_size=BATCH), outputs)
    for given in (pydataset, InBatches, lambda: iter(batches())):
        assert expected.evaluate(given()) == loss
        np.testing.assert_array_equal(expected.predict(given()), outputs)
        np.testing.assert_array_equal(expected.predict(given(), steps=2), outputs[: 2 * BATCH])


def test_a_generator_goes_on_from_epoch_to_epoch(backend, expected):
    def endless():
        while True:
            yield from batches()

    assert_same(result(endless(), steps_per_epoch=6), expected)
    assert_same_weights(weights_of(result(endless(), steps_per_epoch=9, epochs=2).model), weights_of(expected.model))
    assert len(result(iter(batches()), epochs=1).history["loss"]) == 1


def test_data_that_can_be_read_once_or_ends_too_early_says_so(backend):
    with pytest.raises(UsageError, match=r"several epochs on an iterator \(list_iterator\), .*once.* steps_per_epoch="):
        result(iter(batches()))
    with pytest.raises(UsageError, match="which can be read once"):
        result(points(ROWS), validation_data=iter(batches()))
    with pytest.raises(DataError, match=r"An iterator .* ended after 6 batches, and batch 6 is needed.*repeat\(\)"):
        result(iter(batches()), steps_per_epoch=4)
    with pytest.raises(DataError, match="gives no batch"):
        result(iter(()))


def test_a_pydataset_mixes_its_batches_and_hears_of_each_epoch(backend):
    read = []
    data = pydataset(read)
    result(data, epochs=2, shuffle=True)
    assert data.over == 2
    first, second = read[-12:-6], read[-6:]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


class KilledError(Exception):
    """In place of the death of the process."""


@pytest.mark.parametrize("made", [pydataset, InBatches])
def test_a_run_that_died_in_an_epoch_goes_on_with_the_batches_to_come(backend, tmp_path, monkeypatch, capsys, made):
    whole = result(made(), shuffle=True)
    trainer = Trainer(dense(metrics=["mean_absolute_error"]))
    loop = trainer._ready_loop()
    run, done = loop.run, [0]

    def until(chunk):
        logs = run(chunk)
        done[0] += len(chunk.rows)
        if done[0] >= 10:
            raise KilledError
        return logs

    monkeypatch.setattr(loop, "run", until)
    options = {"checkpoint": tmp_path / "c", "save_every_steps": 2, "epochs": 3}
    with pytest.raises(KilledError):
        trainer.fit(made(), progress="quiet", **options)
    capsys.readouterr()
    assert_same(result(made(), shuffle=True, resume=True, **options | {"progress": "lines"}), whole)
    said = capsys.readouterr().out
    assert ("gives batches in an order of its own" in said) == (made is InBatches)


def test_what_is_wrong_with_a_batch_is_told_by_its_number(backend):
    def broken(value, place):
        found = batches()
        found[3][place][1] = value
        return found

    class Rows:
        def __init__(self, found):
            self.found = found

        def __iter__(self):
            return iter(self.found)

    with pytest.raises(DataError, match="x is nan in row 1 of the batch 3 of the training data"):
        result(Rows(broken(np.nan, 0)))
    found = batches()
    found[2] = (found[2][0][:, :2], found[2][1])
    with pytest.raises(DataError, match=r"takes rows of shape \(3\).*x of the batch 2 of the training data has rows"):
        result(Rows(found))
    for single in (Numbered("pair")[0], "a word"):
        with pytest.raises(DataError, match=r"Cannot read the first batch: "):
            result(Rows([single]))


def test_samples_that_differ_are_told_by_their_number(backend):
    class Odd(Numbered):
        def __getitem__(self, number):
            x, y = super().__getitem__(number)
            return (x[:2] if number == 9 else x), y

    with pytest.raises(DataError, match=r"x of sample 9 of the .*Odd has the shape \(2,\).* sample 0 \(3,\)"):
        result(Odd(), batch_size=BATCH)
    with pytest.raises(DataError, match="y of a sample is 'word', and models take numbers"):
        result(type("Words", (Numbered,), {"__getitem__": lambda self, n: (np.ones(3), "word")})())


def test_pictures_of_a_data_set_are_bytes_from_0_to_255(backend):
    """A model learns on 0 to 1 from them, as from an image folder."""

    class Pictures:
        def __len__(self):
            return 8

        def __getitems__(self, numbers):
            return [self[number] for number in numbers]

        def __getitem__(self, number):
            pixels = np.full((8, 8), 200 * (number % 2), np.uint8)
            return {"image": Image.fromarray(pixels), "label": number % 2}

    split = as_split(Pictures())
    assert split.x.shape == (8, 8, 8, 1)
    assert split.x.dtype == np.uint8
    model = build_cnn((8, 8, 1), 2, filters=(4,), dense_units=4)
    trainer = Trainer(model)
    trainer.fit(Pictures(), epochs=1, batch_size=4, progress="quiet")
    assert record_of(model).value_range == UNIT
    pixels = np.asarray(split.x)
    np.testing.assert_allclose(trainer.predict(Pictures()), trainer.predict(pixels / np.float32(255)), atol=1e-6)
    np.testing.assert_allclose(trainer.predict(iter([pixels])), trainer.predict(pixels / np.float32(255)), atol=1e-6)


def test_weights_of_classes_are_given_to_rows_as_they_are_read(backend):
    import keras

    x, y = points(ROWS).x, np.arange(ROWS) % 2

    class Rows(Numbered):
        def __getitem__(self, number):
            return x[number], int(y[number])

    class Streamed:
        def __iter__(self):
            return iter([(x[first : first + BATCH], y[first : first + BATCH]) for first in range(0, ROWS, BATCH)])

    found = []
    for data in ((x, y), Rows(), Streamed()):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, activation="softmax", kernel_initializer="zeros")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        options = {} if isinstance(data, Streamed) else {"batch_size": BATCH}
        Trainer(model).fit(data, shuffle=False, class_weight={0: 1.0, 1: 5.0}, progress="quiet", **options)
        found.append(weights_of(model))
    assert_same_weights(found[1], found[0])
    assert_same_weights(found[2], found[0])


def test_all_classes_count_alike_if_asked(backend):
    import keras

    x, y = points(ROWS).x, np.array([0] * 18 + [1] * 4)
    found = []
    for weights in ("balanced", {0: 22 / 36, 1: 22 / 8}):
        layers = [keras.Input((3,)), keras.layers.Dense(2, activation="softmax", kernel_initializer="zeros")]
        model = keras.Sequential(layers)
        model.compile("sgd", "sparse_categorical_crossentropy")
        Trainer(model).fit(x, y, class_weight=weights, progress="quiet")
        found.append(weights_of(model))
    assert_same_weights(found[0], found[1])
    with pytest.raises(UsageError, match="'balanced': the labels are not in memory"):
        result(pydataset(), class_weight="balanced")
    with pytest.raises(UsageError, match=r"shuffle='balanced' with a keras\.utils\.PyDataset"):
        result(pydataset(), shuffle="balanced")
    with pytest.raises(UsageError, match=r"shuffle='balanced': y must be the number of the class"):
        result(points(ROWS), shuffle="balanced")


def test_what_needs_rows_with_numbers_is_refused_by_name(backend):
    for options, what in (
        ({"validation_split": 0.5}, "validation_split=0.5 with a keras.utils.PyDataset, whose rows have no numbers"),
        ({"batch_size": 4}, "batch_size=4 with a keras.utils.PyDataset, whose batches have a size of their own"),
    ):
        with pytest.raises(UsageError, match=what):
            result(pydataset(), **options)
    with pytest.raises(DataError, match=r"x is a keras\.utils\.PyDataset, .* x and y together\. Pass it alone"):
        result((pydataset(), points(ROWS).y))
