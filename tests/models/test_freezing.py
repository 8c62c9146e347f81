"""Setting a frozen base free, and writing down what is frozen."""

import json

import numpy as np
import pytest

from unidl.errors import ModelError
from unidl.models import (
    base_of,
    build,
    build_cnn,
    build_transfer,
    record_of,
    set_trainable_state,
    trainable_state,
    unfreeze,
)

pytestmark = pytest.mark.usefixtures("backend")


def transfer(**arguments):
    base = build_cnn((18, 18, 1), classes=3, filters=(2, 3, 4), dense_units=5, batch_normalization=True)
    return build_transfer(base, classes=2, dense_units=6, **arguments)


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


HEAD = (4 + 1) * 6 + (6 + 1) * 2
"""Trainable parameters while the base is frozen: one place with 4 features, 6 dense units, 2 classes."""
BASE = 9 * 1 * 2 + 9 * 2 * 3 + 9 * 3 * 4
"""Parameters of the base that can be set free: three convolutions without bias, but not their normalization."""


def test_only_the_head_learns_at_first():
    model = transfer()
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == HEAD
    assert not base_of(model).trainable_weights


def test_unfreezing_all_and_from_a_layer_on():
    model = transfer()
    assert unfreeze(model) == HEAD + BASE
    assert unfreeze(model, "conv_3") == HEAD + 9 * 3 * 4
    assert unfreeze(model, "pool_1") == HEAD + 9 * 2 * 3 + 9 * 3 * 4
    assert unfreeze(model) == HEAD + BASE, "a second call must not remember the first"


def test_the_layers_of_a_base_inside_a_base_have_names_too():
    model = build_transfer(transfer(), classes=4, dense_units=None)
    head = (4 + 1) * 4
    assert unfreeze(model) == head + BASE
    assert unfreeze(model, "conv_3") == head + 9 * 3 * 4


def test_an_unknown_layer_is_an_error_that_lists_what_comes_close():
    with pytest.raises(ModelError, match=r"has no layer of that name.*'conv_3'"):
        unfreeze(transfer(), "conv3")


def test_a_model_without_a_base_cannot_be_unfrozen():
    with pytest.raises(ModelError, match="0 of its layers are models"):
        unfreeze(build_cnn((18, 18, 1)))


def test_frozen_layers_come_back_in_an_equal_model():
    """A resumed run that trained other layers would apply the optimizer's state to the wrong weights."""
    model = transfer()
    unfreeze(model, "conv_2")
    state = json.loads(json.dumps(trainable_state(model)))
    again = build(record_of(model).architecture)
    assert trainable_state(again) != state
    set_trainable_state(again, state)
    assert trainable_state(again) == state
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]


def test_a_layer_frozen_by_hand_is_in_the_state():
    model = build_cnn((18, 18, 1))
    model.get_layer("conv_2").trainable = False
    assert trainable_state(model) == ["conv_2"]
    set_trainable_state(model, [])
    assert len(model.trainable_weights) == 10


def test_a_state_of_another_model_is_an_error():
    with pytest.raises(ModelError, match="Cannot freeze the layer 'vgg16/block1'"):
        set_trainable_state(transfer(), ["vgg16/block1"])


def test_batch_statistics_of_the_base_stay_frozen_and_free():
    """Batches of a fine-tuning run are small: they would ruin statistics gathered over a whole data set."""
    model = transfer()
    statistics = [weight for weight in base_of(model).weights if "moving" in weight.name]
    before = [numpy(weight.value) for weight in statistics]
    images = np.random.default_rng(0).random((8, 18, 18, 1), dtype=np.float32)
    labels = np.arange(8) % 2
    for from_layer in (None, "conv_3"):
        if from_layer is not None:
            unfreeze(model, from_layer)
        kernels = {name: numpy(base_of(model).get_layer(name).kernel.value) for name in ("conv_1", "conv_3")}
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(images, labels, batch_size=4, verbose=0)
        assert all(np.array_equal(numpy(w.value), old) for w, old in zip(statistics, before, strict=True))
        moved = {
            name: not np.array_equal(numpy(base_of(model).get_layer(name).kernel.value), old)
            for name, old in kernels.items()
        }
        assert moved == {"conv_1": False, "conv_3": from_layer is not None}
