"""Targets that a loss is not defined for are refused before training, in the same words on every backend: else a
person watches a loss of -18 735, or a model that learned the mean of three columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from unidl import Trainer
from unidl.data import Split
from unidl.data.checks import check_fits
from unidl.data.losses import TARGETS
from unidl.errors import DataError

ROWS = 8
SIGNS = np.where(np.arange(ROWS) % 3 == 1, 1, -1)
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def keras(backend):
    import keras

    return keras


@pytest.fixture(scope="module")
def model_with(keras):
    """A function that compiles a model of some outputs with a loss; a shape of outputs is built once."""
    built = {}

    def make(loss, outputs=(1,), **compiled):
        if outputs not in built:
            inputs = keras.Input((3,))
            values = keras.layers.Dense(int(np.prod(outputs)), activation="sigmoid")(inputs)
            built[outputs] = keras.Model(inputs, keras.layers.Reshape(outputs)(values))
        built[outputs].compile(optimizer="sgd", loss=loss, **compiled)
        return built[outputs]

    return make


def check(model, y):
    check_fits(model, Split(X, y), for_training=True, name="training data")


def changed(array, place, value):
    copy = np.array(array)
    copy[place] = value
    return copy


ZEROS = np.zeros((ROWS, 1))
PROBABILITIES = [name for name, targets in TARGETS.items() if targets == "probabilities"]
ONE_HOT = [name for name, targets in TARGETS.items() if targets == "one_hot"]
COMPARED = [name for name, targets in TARGETS.items() if targets not in ("classes", "one_hot", "sequences")]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (SIGNS, r"y is -1 in row 0 of the training data; the loss binary_crossentropy takes numbers from 0 to 1\. "),
        (SIGNS, r"Pass \(y \+ 1\) / 2\.$"),
        (SIGNS * 0.5 + 1.5, r"y is 2 in row 1 .* Pass y - 1\.$"),
        ((SIGNS > 0) * np.uint8(255), r"y is 255 in row 1 .* Pass y / 255\.$"),
        (np.arange(ROWS) * 7.5, r"y is 7\.5 in row 1 .* Encode the labels as 0 and 1, or take a loss for any number"),
        (changed(ZEROS, 5, 1.0000001), r"y is 1\.00000012 in row 5"),
        (changed(ZEROS, 5, -1e-30), r"y is -1e-30 in row 5"),
    ],
)
def test_binary_labels_out_of_range_are_told_with_what_to_do(model_with, y, words):
    for targets in (y, np.reshape(y, (-1, 1))):
        with pytest.raises(DataError, match=words):
            check(model_with("binary_crossentropy"), targets)


@pytest.mark.parametrize("loss", PROBABILITIES)
@pytest.mark.parametrize("y", [SIGNS > 0, (SIGNS > 0).astype(np.uint8), np.linspace(0, 1, ROWS), ZEROS])
def test_probabilities_pass(model_with, loss, y):
    check(model_with(loss), y)
    with pytest.raises(DataError, match=f"y is 2 in row 7 of the training data; the loss {loss} takes"):
        check(model_with(loss), changed(y.astype(np.float32), 7, 2))


def test_every_way_to_name_the_loss_is_held_to_its_range(keras, model_with):
    losses = keras.losses
    for loss in (
        "binary_crossentropy",
        "bce",
        "BinaryCrossentropy",
        "crossentropy",
        losses.binary_crossentropy,
        losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        losses.BinaryFocalCrossentropy(),
        [losses.BinaryCrossentropy()],
    ):
        with pytest.raises(DataError, match=r"y is -1 in row 0.*takes numbers from 0 to 1"):
            check(model_with(loss), SIGNS)
        check(model_with(loss), SIGNS > 0)


def test_a_loss_of_ones_own_takes_what_it_takes(keras, model_with):
    def binary_crossentropy(y_true, y_pred):
        return keras.ops.mean(y_true * y_pred)

    class Own(keras.losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_true * y_pred)

    for loss in (binary_crossentropy, Own(), None):
        check(model_with(loss), np.full((ROWS, 3), -7.5))


@pytest.mark.parametrize("loss", ONE_HOT)
def test_one_hot_labels_need_a_column_a_class(model_with, loss):
    model = model_with(loss, (4,))
    check(model, np.eye(4)[np.arange(ROWS) % 4])
    check(model, np.full((ROWS, 4), 0.3))  # of smoothed labels and of mixtures; they need not sum up to 1
    numbers = np.arange(ROWS) % 4
    for labels in (numbers, numbers[:, None]):
        with pytest.raises(DataError, match=rf"{loss} takes one .*4 classes.*'sparse_cat.*to_categorical\(y, 4\)"):
            check(model, labels)
    with pytest.raises(DataError, match=r"has the shape \(8, 3\), and the model's outputs \(8, 4\).*with 4 columns"):
        check(model, np.eye(3)[np.arange(ROWS) % 3])
    with pytest.raises(DataError, match=r"y is 255 in row 1 of .* Pass y / 255"):
        check(model, changed(np.eye(4)[np.arange(ROWS) % 4] * 255, (0, 0), 0))
    with pytest.raises(DataError, match=r"y is -0\.5 in row 3 of .* one column a class.* sample_weight"):
        check(model, changed(np.eye(4)[np.arange(ROWS) % 4], (3, 2), -0.5))


def test_one_hot_labels_for_each_step(model_with):
    model = model_with("categorical_crossentropy", (5, 4))
    check(model, np.zeros((ROWS, 5, 4)))
    with pytest.raises(DataError, match=r"\(8, 5\).*'sparse_categorical_crossentropy'"):
        check(model, np.zeros((ROWS, 5), int))


@pytest.mark.parametrize("loss", COMPARED)
@pytest.mark.parametrize(
    ("outputs", "wrong", "right"),
    [
        ((1,), (3,), [(), (1,)]),
        ((3,), (1,), [(3,), (3, 1)]),
        ((3,), (), [(3,)]),
        ((8,), (), [(8,)]),  # (8,) and (8, 8) broadcast where there are as many rows as outputs
        ((2, 2), (2,), [(2, 2), (2, 2, 1)]),
        ((2, 2, 1), (2, 1, 1), [(2, 2), (2, 2, 1)]),
    ],
)
def test_targets_that_only_broadcast_are_refused(model_with, loss, outputs, wrong, right):
    model = model_with(loss, outputs)
    for shape in right:
        check(model, np.ones((ROWS, *shape)))
    with pytest.raises(DataError, match=f"the model's outputs .*: the loss {loss} compares them number by number"):
        check(model, np.ones((ROWS, *wrong)))


@settings(deadline=None)  # the first call makes the framework's tensors, which takes as long as all others
@given(
    outputs=some.lists(some.integers(1, 3), min_size=1, max_size=3).map(tuple),
    rows=some.lists(some.integers(1, 3), max_size=4).map(tuple),
)
def test_the_shapes_that_pass_are_those_that_keras_brings_to_one(keras, outputs, rows):
    """Against Keras's own rule, applied to arrays: what it leaves of two shapes is one shape."""
    from unidl.data.losses import KnownLoss
    from unidl.data.rows import Reading
    from unidl.data.targets import ask_targets

    y, predicted = np.ones((2, *rows), np.float32), np.ones((2, *outputs), np.float32)

    class Seen(keras.losses.MeanSquaredError):
        def __init__(self):
            super().__init__()
            self.fn = lambda one, other: self.shapes.append((tuple(one.shape), tuple(other.shape))) or other
            self.shapes = []

    seen = Seen()
    seen.call(keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(predicted))
    one, other = seen.shapes[0]
    loss = KnownLoss("mean_squared_error", {}, "numbers")
    if one == other:
        ask_targets(Reading(), loss, y, (None, *outputs), "y", "data")
    else:
        with pytest.raises(DataError, match="does not broadcast"):
            ask_targets(Reading(), loss, y, (None, *outputs), "y", "data")


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_signs_may_be_written_in_two_ways_but_not_in_both(model_with, loss):
    for y in (SIGNS, SIGNS > 0, np.ones(ROWS), ZEROS, -np.ones(ROWS)):
        check(model_with(loss), y)
    with pytest.raises(DataError, match=rf"y is 2 in row 1 of .* {loss} takes -1 and 1, or 0 and 1\. Pass y - 1\."):
        check(model_with(loss), SIGNS * 0.5 + 1.5)
    with pytest.raises(DataError, match=r"y is 0 in row 4 of .* takes -1 and 1, or 0 and 1\. Encode"):
        check(model_with(loss), changed(SIGNS, 4, 0))


def test_sequences_are_of_the_models_classes(model_with):
    model = model_with("ctc", (5, 4))
    check(model, np.arange(2 * ROWS).reshape(ROWS, 2) % 4)
    with pytest.raises(DataError, match="Label 4 in row 3 of the training data is out of range: the model has 4"):
        check(model, changed(np.ones((ROWS, 2), int), (3, 1), 4))
    with pytest.raises(DataError, match=r"has shape \(8,\); the loss ctc takes the labels of a row in sequence"):
        check(model, np.ones(ROWS, int))


def test_counts_are_not_negative(model_with):
    check(model_with("poisson"), np.arange(ROWS) * 1.5)
    with pytest.raises(DataError, match=r"y is -2 in row 3 .* poisson takes numbers from 0, such as counts\. Repair"):
        check(model_with("poisson"), changed(np.ones(ROWS, int), 3, -2))


def test_other_losses_take_any_number(model_with):
    for loss in ("mse", "mae", "huber", "log_cosh", "cosine_similarity", "msle"):
        check(model_with(loss), np.linspace(-1000, 1000, ROWS))


def test_each_output_is_held_to_its_own_loss(keras):
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name="yes")(inputs), keras.layers.Dense(2, name="size")(inputs)]
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="sgd", loss={"yes": "bce", "size": "mse"})
    sizes = np.full((ROWS, 2), -7.5)
    check(model, {"yes": SIGNS > 0, "size": sizes})
    with pytest.raises(DataError, match=r"y\['yes'\] is -1 in row 0 .* Pass \(y\['yes'\] \+ 1\) / 2"):
        check(model, {"yes": SIGNS, "size": sizes})
    with pytest.raises(DataError, match=r"y\['size'\] of the training data has the shape \(8, 3\)"):
        check(model, {"yes": SIGNS > 0, "size": X})


def test_an_unknown_output_is_held_to_the_range_alone(keras):
    class Unknown(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    model = Unknown()
    model.compile(optimizer="sgd", loss="bce")
    check(model, np.ones((ROWS, 3)))
    with pytest.raises(DataError, match="y is -1 in row 0"):
        check(model, SIGNS)


def test_a_trainer_refuses_before_the_first_step(keras, model_with):
    model = model_with("binary_crossentropy")
    before = [np.array(weight) for weight in model.get_weights()]
    for call in (lambda t: t.fit((X, SIGNS), epochs=5, progress="quiet"), lambda t: t.evaluate((X, SIGNS))):
        with pytest.raises(DataError, match=r"Pass \(y \+ 1\) / 2"):
            call(Trainer(model))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    history = Trainer(model).fit((X, (SIGNS + 1) / 2), epochs=2, progress="quiet").history
    assert min(history["loss"]) >= 0
