"""Bad data is found before training, on every backend, in the same words, with the row to look at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from unidl.data import Split
from unidl.data.checks import check_fits, first_non_finite
from unidl.data.rows import first_bad, is_whole
from unidl.errors import DataError

ROWS = 8
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def keras(backend):
    import keras

    assert keras.config.backend() == backend.name
    return keras


def compiled(model, loss="sparse_categorical_crossentropy"):
    model.compile(optimizer="sgd", loss=loss)
    return model


@pytest.fixture(scope="module")
def images_model(keras):
    layers = keras.layers
    return compiled(
        keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(10, activation="softmax")])
    )


@pytest.fixture(scope="module")
def words_model(keras):
    layers = keras.layers
    return compiled(
        keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(7, 3, name="words"),
                layers.Flatten(),
                layers.Dense(7),
            ]
        )
    )


@pytest.fixture(scope="module")
def tagger(keras):
    """One label for each step, and any number of steps."""
    inputs = keras.Input((None,), dtype="int32")
    outputs = keras.layers.Dense(3)(keras.layers.Embedding(7, 3)(inputs))
    return compiled(keras.Model(inputs, outputs))


@pytest.fixture(scope="module")
def two_by_two(keras):
    layers = keras.layers
    numbers, words = keras.Input((2,), name="numbers"), keras.Input((3,), name="words", dtype="int32")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(9, 2, name="dictionary")(words))
    joined = layers.Concatenate()([numbers, pooled])
    outputs = [layers.Dense(4, name="kind")(joined), layers.Dense(1, name="size")(joined)]
    return keras.Model([numbers, words], outputs)


def images(**changes):
    parts = {"x": RNG.random((ROWS, 4, 4, 1), dtype=np.float32), "y": np.arange(ROWS)} | changes
    return Split(**parts)


def words(**changes):
    parts = {"x": RNG.integers(0, 7, (ROWS, 5)), "y": RNG.integers(0, 7, ROWS)} | changes
    return Split(**parts)


def changed(array, place, value):
    copy = np.array(array)
    copy[place] = value
    return copy


@pytest.mark.parametrize(
    "y",
    [
        np.arange(ROWS),
        np.arange(ROWS)[:, None],
        np.arange(ROWS, dtype=np.uint8),
        np.arange(ROWS, dtype=np.float32),
        np.arange(ROWS) > 3,
    ],
    ids=["(n,)", "(n, 1)", "bytes", "whole floats", "truth values"],
)
def test_good_data_passes(images_model, y):
    check_fits(images_model, images(y=y, sample_weight=np.ones(ROWS)), for_training=True)
    check_fits(images_model, images(y=None), for_training=False)


def test_what_training_does_not_use_is_not_checked(images_model):
    check_fits(images_model, images(y=np.full(ROWS, 99)), for_training=False)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (12, "Label 12 in row 5 of the training data is out of range: the model has 10 classes, labels 0"),
        (12, "labels 0 to 9."),
        (10, "Label 10 in row 5"),
        (-1, "Label -1 in row 5"),
    ],
)
def test_a_label_out_of_range_is_named_with_its_row(images_model, label, message):
    for y in (changed(np.arange(ROWS), 5, label), changed(np.arange(ROWS)[:, None], 5, label)):
        with pytest.raises(DataError) as caught:
            check_fits(images_model, images(y=y), for_training=True, name="training data")
        assert message in str(caught.value)


@given(row=some.integers(0, ROWS - 1), label=some.integers(-(2**40), 2**40))
def test_exactly_the_labels_of_the_classes_pass(images_model, row, label):
    split = images(y=changed(np.zeros(ROWS, np.int64), row, label))
    if 0 <= label < 10:
        check_fits(images_model, split, for_training=True)
    else:
        with pytest.raises(DataError, match=f"Label {label} in row {row} of the data is out of range"):
            check_fits(images_model, split, for_training=True)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (changed(np.zeros(ROWS), 3, 1.5), r"Label 1\.5 in row 3 of the data is not a whole number"),
        (changed(np.zeros(ROWS), 2, np.nan), "Label nan in row 2 of the data is not a whole number"),
        (np.array(["cat"] * ROWS), "y of the data holds values of the type <U3"),
        (
            np.eye(10)[:ROWS],
            r"shape \(8, 10\).*one label.*\(8,\).*y\.argmax\(axis=-1\).*'categorical_crossentropy'",
        ),
        (np.zeros((ROWS, 3)), r"shape \(8, 3\)"),
        (None, "The data has no y"),
    ],
)
def test_labels_of_another_kind(images_model, y, words):
    with pytest.raises(DataError, match=words):
        check_fits(images_model, images(y=y), for_training=True)


def test_every_way_to_name_the_loss_is_checked(keras):
    losses = keras.losses
    for loss in (
        "sparse_categorical_crossentropy",
        losses.sparse_categorical_crossentropy,
        losses.SparseCategoricalCrossentropy(from_logits=True),
        ["sparse_categorical_crossentropy"],
        {"kind": losses.SparseCategoricalCrossentropy()},
    ):
        inputs = keras.Input((4,))
        model = compiled(keras.Model(inputs, keras.layers.Dense(3, name="kind")(inputs)), loss)
        with pytest.raises(DataError, match="Label 3 in row 1"):
            check_fits(model, Split(np.ones((2, 4)), [0, 3]), for_training=True)
        check_fits(model, Split(np.ones((2, 4)), [0, 2]), for_training=True)


def test_an_ignored_class_may_lie_outside(keras):
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    model = compiled(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), loss)
    check_fits(model, Split(np.ones((2, 4)), [0, -1]), for_training=True)
    with pytest.raises(DataError, match="Label -2 in row 1"):
        check_fits(model, Split(np.ones((2, 4)), [-1, -2]), for_training=True)


def test_other_losses_take_other_targets(keras):
    model = compiled(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), "mse")
    check_fits(model, Split(np.ones((2, 4)), [-7.5, 300.0]), for_training=True)
    assert first_non_finite(Split(np.ones((2, 4)), [0, np.inf])).message.startswith("y is inf in row 1 of the data. ")


def test_a_label_for_each_step(tagger):
    x, y = RNG.integers(0, 7, (ROWS, 6)), RNG.integers(0, 3, (ROWS, 6))
    check_fits(tagger, Split(x, y), for_training=True)
    check_fits(tagger, Split(x, y[..., None]), for_training=True)
    with pytest.raises(DataError, match="Label 3 in row 4 of the data"):
        check_fits(tagger, Split(x, changed(y, (4, 2), 3)), for_training=True)
    with pytest.raises(DataError, match=r"shape \(8,\).*\(8, any\)"):
        check_fits(tagger, Split(x, y[:, 0]), for_training=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(images_model, value):
    x = changed(np.ones((ROWS, 4, 4, 1)), (6, 1, 2, 0), value)
    found = first_non_finite(images(x=x), "test data")
    assert found.row == 6
    assert found.message.startswith(f"x is {value} in row 6 of the test data. ")
    check_fits(images_model, images(x=x), for_training=True)  # something in the model may replace them
    weights = changed(np.ones(ROWS), 6, value)
    with pytest.raises(DataError, match=f"sample_weight is {value} in row 6 of the test data"):
        check_fits(images_model, images(sample_weight=weights), for_training=True, name="test data")


def test_negative_weights(images_model):
    weights = changed(np.ones(ROWS), 4, -0.5)
    with pytest.raises(DataError, match=r"sample_weight is -0\.5 in row 4 of the data; .* 0 or positive"):
        check_fits(images_model, images(sample_weight=weights), for_training=True)


@pytest.mark.parametrize("shape", [(8, 8, 1), (4, 4, 3), (4, 4, 2), (16,), (4, 4, 1, 1, 1)])
def test_rows_of_another_shape(images_model, shape):
    with pytest.raises(DataError, match=r"takes rows of shape \(4, 4, 1\).*x of the data has rows of shape") as caught:
        check_fits(images_model, images(x=np.ones((ROWS, *shape))), for_training=False)
    assert "(" + ", ".join(map(str, shape)) + ")" in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1, 1)])
def test_shapes_that_keras_itself_mends_pass_here_and_there(images_model, shape):
    x = np.ones((2, *shape), np.float32)
    check_fits(images_model, Split(x), for_training=False)
    assert images_model(x).shape == (2, 10)


def test_a_missing_axis_of_any_length_is_not_mended(tagger):
    """As in Keras, which adds only an axis of length 1."""
    with pytest.raises(DataError, match=r"takes rows of shape \(any\).* rows of shape \(\)"):
        check_fits(tagger, Split([1, 2, 3]), for_training=False)


def test_rows_that_are_no_numbers(images_model):
    with pytest.raises(DataError, match="x of the data holds values of the type <U1, and models take numbers"):
        check_fits(images_model, images(x=np.full((ROWS, 4, 4, 1), "a")), for_training=False)


@pytest.mark.parametrize(("token", "shown"), [(7, "7"), (-1, "-1"), (2.5, "2.5")])
def test_a_token_that_the_embedding_lacks(words_model, token, shown):
    x = changed(np.zeros((ROWS, 5), np.float32 if token == 2.5 else np.int32), (3, 2), token)
    with pytest.raises(DataError, match=f"Token {shown} in row 3 of x .*'words' takes whole numbers from 0 to 6"):
        check_fits(words_model, words(x=x), for_training=False)


def test_tokens_in_range_pass(words_model, tagger):
    check_fits(words_model, words(), for_training=True)
    check_fits(words_model, words(x=np.full((ROWS, 5), 6.0)), for_training=False)
    with pytest.raises(DataError, match="Token 9 in row 0"):
        check_fits(tagger, Split([[9, 1]]), for_training=False)


def test_an_embedding_inside_an_inner_model_is_found(keras, words_model):
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, keras.Sequential([words_model, keras.layers.Dense(2)])(inputs))
    with pytest.raises(DataError, match="Token 7 in row 1"):
        check_fits(model, Split([[0] * 5, [7] * 5]), for_training=False)


def test_an_embedding_behind_another_layer_is_left_alone(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((2,)), layers.Rescaling(0.01), layers.Embedding(3, 2)])
    check_fits(model, Split([[200, 100]]), for_training=False)


def test_each_part_of_a_model_with_several(two_by_two):
    compiled(two_by_two, ["sparse_categorical_crossentropy", "mse"])
    numbers, tokens = np.ones((ROWS, 2)), np.ones((ROWS, 3), int)
    kinds, sizes = np.zeros(ROWS, int), np.full(ROWS, -3.5)
    for x in ([numbers, tokens], (numbers, tokens), {"words": tokens, "numbers": numbers}):
        for y in ([kinds, sizes], {"kind": kinds, "size": sizes}):
            check_fits(two_by_two, Split(x, y), for_training=True)
    bad = {"words": changed(tokens, (2, 1), 9), "numbers": numbers}
    with pytest.raises(DataError, match=r"Token 9 in row 2 of x\['words'\] .* 'dictionary'"):
        check_fits(two_by_two, Split(bad), for_training=False)
    with pytest.raises(DataError, match=r"x\[0\] of the data has rows of shape \(3\)"):
        check_fits(two_by_two, Split([tokens, numbers]), for_training=False)
    with pytest.raises(DataError, match=r"Label 4 in row 7 of y\[0\] of the data"):
        check_fits(two_by_two, Split([numbers, tokens], [changed(kinds, 7, 4), sizes]), for_training=True)
    bad = {"words": tokens, "numbers": changed(numbers, (0, 0), np.nan)}
    assert first_non_finite(Split(bad)).message.startswith("x['numbers'] is nan in row 0 of the data. ")


def test_losses_by_name_reach_their_outputs(two_by_two):
    compiled(two_by_two, {"size": "mse", "kind": "sparse_categorical_crossentropy"})
    x, sizes = [np.ones((ROWS, 2)), np.ones((ROWS, 3), int)], np.full(ROWS, 99.5)
    with pytest.raises(DataError, match=r"Label 5 in row 1 of y\['kind'\]"):
        check_fits(two_by_two, Split(x, {"size": sizes, "kind": [0, 5, *[0] * 6]}), for_training=True)


def test_inputs_that_are_not_the_models(two_by_two):
    numbers = np.ones((ROWS, 2))
    with pytest.raises(DataError, match=r"takes 2 input\(s\), 'numbers', 'words'; x of the data has 1 array"):
        check_fits(two_by_two, Split(numbers), for_training=False)
    with pytest.raises(DataError, match="inputs are 'numbers', 'words'; x of the data has 'numbers', 'wrods'"):
        check_fits(two_by_two, Split({"numbers": numbers, "wrods": numbers}), for_training=False)


def test_outputs_in_a_dict(keras):
    inputs = keras.Input((4,), name="z")
    layers = keras.layers
    outputs = {"b": layers.Dense(5, name="first")(inputs), "a": layers.Dense(2, name="second")(inputs)}
    model = compiled(keras.Model({"z": inputs}, outputs))
    x = {"z": np.ones((2, 4))}
    check_fits(model, Split(x, {"a": [0, 1], "b": [0, 4]}), for_training=True)
    with pytest.raises(DataError, match=r"Label 2 in row 1 of y\['a'\].* 2 classes"):
        check_fits(model, Split(x, {"a": [0, 2], "b": [0, 4]}), for_training=True)


def test_a_subclassed_model_is_checked_as_far_as_it_can_be(keras):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    model = compiled(Own())
    check_fits(model, Split(np.ones((2, 99)), [0, 50]), for_training=True)
    with pytest.raises(DataError, match="Label -1 in row 1 of the data is out of range: labels must be whole"):
        check_fits(model, Split(np.ones((2, 99)), [0, -1]), for_training=True)
    check_fits(compiled(keras.Sequential([keras.layers.Dense(3)])), Split(np.ones((2, 9)), [0, 1]), for_training=True)


def test_a_model_that_makes_its_own_loss_needs_no_labels(keras):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd")
    check_fits(model, Split(np.ones((2, 4))), for_training=True)


@given(
    shape=some.tuples(some.integers(1, 9), some.integers(1, 5)),
    place=some.tuples(some.integers(0, 8), some.integers(0, 4)),
)
def test_the_first_bad_row_is_found_wherever_it_is(shape, place):
    array = np.zeros(shape, np.float32)
    assert first_bad(array, np.isfinite) is None
    row, column = place[0] % shape[0], place[1] % shape[1]
    array[row:, column] = np.nan
    assert first_bad(array, np.isfinite) == (row, "nan")


def test_a_bad_row_far_behind_is_found():
    """More rows than one block of the search holds."""
    array = np.zeros((3_000_000, 1), np.int8)
    array[2_500_000:] = 5
    assert first_bad(array, lambda block: block < 5) == (2_500_000, "5")
    assert first_bad(array[:0], is_whole) is None
