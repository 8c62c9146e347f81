"""Operations, bytes and kept values by layer. Without this a plan is about another model than the one trained."""

from __future__ import annotations

import time

import numpy as np
import pytest

import unidl
from unidl import registry
from unidl.compare.flops import training_flops
from unidl.errors import ModelError
from unidl.planning.costs import ModelCost
from unidl.planning.shapes import shapes_only
from unidl.planning.subject import cost_of

registry.current()  # before Keras, which otherwise takes the framework that it likes
import keras  # noqa: E402


def built(build) -> tuple[keras.Model, ModelCost]:
    with shapes_only():
        model = build()
    return model, cost_of(model)


@pytest.mark.parametrize(
    "build",
    [
        lambda: unidl.build_cnn(dropout=0.1, batch_normalization=True),
        lambda: unidl.build_lstm(layers=2),
        lambda: unidl.build_lstm(cell="gru"),
        lambda: unidl.build_transformer(vocabulary_size=50, sequence_length=16, units=16, heads=2),
        lambda: unidl.build_transfer("MobileNetV2", (32, 32, 3), weights=None),
    ],
    ids=["cnn", "lstm", "gru", "transformer", "transfer"],
)
def test_operations_by_layer_sum_to_those_of_a_training_step(build):
    model, cost = built(build)
    assert cost.training_flops == pytest.approx(training_flops(model), rel=0.01)
    assert cost.uncounted == ()
    assert cost.parameters == model.count_params()


def test_a_plain_network_has_the_sizes_that_one_counts_by_hand():
    layers = [keras.layers.Dense(5, activation="relu"), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    _, cost = built(lambda: keras.Sequential([keras.Input((4,)), *layers]))
    first, dropout, last = cost.layers
    assert [layer.kind for layer in cost.layers] == ["Dense", "Dropout", "Dense"]
    assert (first.forward_flops, first.read, first.written, first.parameters) == (2 * 4 * 5, 4, 5, 25)
    assert (dropout.forward_flops, dropout.read, dropout.written) == (0.0, 5, 5)
    # Each value is kept once, though one layer gives it and the next one takes it.
    assert [first.kept, dropout.kept, last.kept] == [4 + 5, 5, 2]
    assert cost.training_flops == 3 * 2 * (4 * 5 + 5 * 2)


def test_attention_counts_products_of_all_steps_with_all_steps():
    inputs = keras.Input((6, 8))
    _, cost = built(lambda: keras.Model(inputs, keras.layers.MultiHeadAttention(2, 3)(inputs, inputs)))
    assert cost.forward_flops == 2 * (6 * (3 * 8 * 6 + 6 * 8) + 2 * 6 * 6 * 2 * 3)


def test_layers_inside_a_layer_are_found():
    class Twice(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.Dense(3)

        def call(self, inputs):
            return self.inner(self.inner(inputs))

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Twice()(inputs))
    cost = cost_of(model)
    assert cost.forward_flops == 2 * (2 * 3 * 3)
    assert cost.parameters == 12


def test_a_matrix_of_an_unknown_kind_is_named_and_not_guessed():
    class Own(keras.layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(shape[-1], 2), name="matrix")

        def call(self, inputs):
            return inputs @ self.matrix

    inputs = keras.Input((3,))
    cost = cost_of(keras.Model(inputs, Own(name="mine")(inputs)))
    assert cost.uncounted == ("mine",)
    assert cost.forward_flops == 0


def test_any_length_needs_data():
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.LSTM(2)])
    with pytest.raises(ModelError, match="any length"):
        cost_of(model)
    assert cost_of(model, np.zeros((2, 7, 4), "float32")).forward_flops == 2 * 7 * 4 * 2 * (4 + 2)


def test_a_large_network_takes_no_memory_and_nothing_is_drawn():
    started = time.perf_counter()
    model, cost = built(lambda: keras.applications.VGG16(weights=None))
    assert time.perf_counter() - started < 60  # seconds on a quiet machine
    assert model.count_params() == cost.parameters == 138_357_544
    # 15.5 billion multiplications and additions: Simonyan and Zisserman 2014.
    assert cost.forward_flops == pytest.approx(2 * 15.47e9, rel=0.01)
    assert cost.training_flops == pytest.approx(training_flops(model), rel=0.01)


def test_models_that_are_built_afterwards_have_values():
    built(lambda: unidl.build_cnn((12, 12, 1), classes=2, filters=(2,), dense_units=2))
    model = unidl.build_cnn((12, 12, 1), classes=2, filters=(2,), dense_units=2)
    assert np.isfinite(model.predict(np.zeros((1, 12, 12, 1), "float32"), verbose=0)).all()
    drawn = keras.layers.Dense(3)
    drawn.build((None, 2))
    assert np.ptp(np.asarray(keras.ops.convert_to_numpy(drawn.kernel.value))) > 0
