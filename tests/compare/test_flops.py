"""Operations counted from the layers. Without this the share of the machine's peak is made up."""

from __future__ import annotations

import pytest

from unidl import build_transfer, registry, unfreeze
from unidl.compare.flops import training_flops
from unidl.compare.workloads import workload

registry.current()  # before Keras, which otherwise takes the framework that it likes
import keras  # noqa: E402


def model_of(shape: tuple[int | None, ...], *layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def test_the_cnn_of_the_comparison():
    convolutions = 26 * 26 * 9 * 32 + 11 * 11 * 9 * 32 * 64 + 3 * 3 * 9 * 64 * 64
    assert training_flops(workload("cnn").build("float32")) == 6 * (convolutions + 576 * 64 + 64 * 10)


def test_the_lstm_of_the_comparison():
    """Looking up an embedding costs nothing."""
    model = workload("lstm").build("float32")
    assert training_flops(model) == pytest.approx(16.5e6, rel=0.01)


def test_a_frozen_base_costs_its_forward_pass_only():
    model = build_transfer("VGG16", (32, 32, 3), weights=None)
    convolutions = [(32, 3, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128)]
    convolutions += [(8, 128, 256), (8, 256, 256), (8, 256, 256)]
    convolutions += [(4, 256, 512), *[(4, 512, 512)] * 2, *[(2, 512, 512)] * 3]
    base = sum(2 * side * side * 9 * channels * filters for side, channels, filters in convolutions)
    frozen = training_flops(model)
    head = frozen - base
    assert 0 < head < 0.1 * base
    unfreeze(model)
    assert training_flops(model) == pytest.approx(3 * base + head)


def test_a_frozen_layer_behind_one_that_learns_passes_the_gradient_through():
    layers = [keras.layers.Dense(4, use_bias=False, name=name) for name in ("first", "second")]
    model = model_of((3,), *layers)
    layers[1].trainable = False
    assert training_flops(model) == 3 * 2 * 3 * 4 + 2 * 2 * 4 * 4


@pytest.mark.parametrize(
    ("shape", "layer", "multiply_adds"),
    [
        ((5,), lambda: keras.layers.Dense(7), 5 * 7),
        ((6, 5), lambda: keras.layers.Dense(7), 6 * 5 * 7),
        ((10, 4), lambda: keras.layers.Conv1D(8, 3), 8 * 3 * 4 * 8),
        ((9, 9, 4), lambda: keras.layers.Conv2D(8, 3, strides=2), 4 * 4 * 9 * 4 * 8),
        ((9, 9, 4), lambda: keras.layers.Conv2D(8, 3, padding="same", groups=2), 81 * 9 * 2 * 8),
        ((9, 9, 4), lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2), 49 * 9 * 4 * 2),
        ((9, 9, 4), lambda: keras.layers.SeparableConv2D(8, 3), 49 * (9 * 4 + 4 * 8)),
        ((6, 5), lambda: keras.layers.LSTM(7), 6 * 4 * 7 * (5 + 7)),
        ((6, 5), lambda: keras.layers.GRU(7), 6 * 3 * 7 * (5 + 7)),
        ((6, 5), lambda: keras.layers.EinsumDense("abc,cd->abd", (6, 7)), 6 * 5 * 7),
        ((6, 5), lambda: keras.layers.BatchNormalization(), 0),
    ],
    ids=lambda value: value if isinstance(value, int) else "",
)
def test_each_kind_of_layer(shape, layer, multiply_adds):
    assert training_flops(model_of(shape, layer())) == 3 * 2 * multiply_adds


def test_what_it_does_not_know_it_does_not_guess():
    assert training_flops(model_of((6, 5), keras.layers.Bidirectional(keras.layers.LSTM(3)))) is None
    assert training_flops(model_of((None, 5), keras.layers.LSTM(3))) is None
