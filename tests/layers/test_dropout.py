"""Dropout's masks are good random numbers, the same bits on every backend. Without this a run cannot move between
backends, or units drop together that should not."""

from __future__ import annotations

import hashlib
import math
from importlib import import_module

import numpy as np
import pytest
from training import draws

from unidl import build_cnn, build_lstm, registry

registry.current()
keras = import_module("keras")  # only now, since the backend decides on which framework it runs
layers = import_module("unidl.layers")
draw = import_module("unidl.layers.draws")

DRAWS = 10_000_000
SIGMAS = 5.0
"""Of a normal distribution: one sound generator in 1.7 million fails a comparison, and here are some twenty."""


def mask(shape, seed, number, keep=0.7):
    place = keras.ops.convert_to_tensor
    found = draw.keep_mask(shape, draw.Key(place(seed, dtype="int32"), place(number, dtype="int32")), keep)
    return np.asarray(keras.ops.convert_to_numpy(found))


def test_every_backend_has_these_bits():
    """Written down once; a run that moves would drop other units from there on."""
    bits = np.packbits(np.stack([mask((3, 1000), seed, number) for seed in (0, 1, 2**31 - 2) for number in (0, 7)]))
    assert hashlib.sha256(bits.tobytes()).hexdigest() == BITS


BITS = "f4db829e39d3c86306780d0593dfeda7e268aaca808ab57c5c821dee10f6d374"


@pytest.fixture(scope="module")
def many():
    """Masks of 10 million places: two seeds, and two numbers of one seed."""
    return {key: mask((DRAWS,), *key).astype(np.float32) - np.float32(0.7) for key in ((0, 0), (0, 1), (1, 0))}


def test_places_are_kept_as_often_as_asked(many):
    for values in many.values():
        assert abs(values.mean(dtype=np.float64)) < SIGMAS * math.sqrt(0.3 * 0.7 / DRAWS)
    for keep in (0.01, 0.5, 0.999):
        count = mask((1_000_000,), 3, 4, keep).sum()
        assert abs(count / 1e6 - keep) < SIGMAS * math.sqrt(keep * (1 - keep) / 1e6)
    assert mask((1000,), 0, 0, 1.0).all()


@pytest.mark.parametrize("lag", [1, 2, 3, 28, 64, 128, 1024, 4096, 65536])
def test_a_place_knows_nothing_of_another(many, lag):
    values = many[0, 0]
    assert abs(correlation(values[:-lag], values[lag:])) < SIGMAS / math.sqrt(DRAWS - lag)


@pytest.mark.parametrize("other", [(0, 1), (1, 0)])
@pytest.mark.parametrize("lag", [0, 1, 17])
def test_a_mask_knows_nothing_of_the_next_one_or_of_another_seed(many, other, lag):
    """Counters and seeds are neighbours, as a rule; masks of neighbours may not be."""
    values = many[0, 0]
    assert abs(correlation(values[: DRAWS - lag], many[other][lag:])) < SIGMAS / math.sqrt(DRAWS - lag)


def test_pairs_of_places_come_as_often_as_chance_has_it(many):
    """Correlation sees pairs; runs of eight places are counted whole: chi-squared with 255 degrees of freedom."""
    kept = (many[0, 0] > 0).reshape(-1, 8)
    counts = np.bincount(np.packbits(kept, axis=1)[:, 0], minlength=256)
    ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(axis=1)
    expected = len(kept) * 0.7**ones * 0.3 ** (8 - ones)
    squares = ((counts - expected) ** 2 / expected).sum()
    assert abs(squares - 255) < SIGMAS * math.sqrt(2 * 255)


def correlation(one, other):
    return float(np.mean(one * other, dtype=np.float64) / (0.3 * 0.7))


def test_the_layer_is_dropout():
    """Values that stay grow, so that their sum stays; each call in training has a mask of its own, no other has one."""
    layer = layers.Dropout(0.25, seed=5)
    x = np.ones((100, 40), np.float32)
    first, second = (np.asarray(keras.ops.convert_to_numpy(layer(x, training=True))) for _ in range(2))
    np.testing.assert_array_equal(np.unique(first), np.float32([0, 1 / 0.75]))
    np.testing.assert_array_equal(first > 0, mask((100, 40), 5, 0, 0.75))
    np.testing.assert_array_equal(second > 0, mask((100, 40), 5, 1, 0.75))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=False)), x)


LAYER_BITS = "b0ae320264e72576c32e795ae60519f6d04f0f29d9e9c2ca40284d02b2c0824b"


def test_every_backend_drops_these_units():
    """Of the layer itself, call after call, of shapes and rates as they come in models."""
    kept: list[np.ndarray] = []
    for rate, shape, noise_shape in (
        (0.1, (32, 64), None),
        (0.5, (5, 7, 8), None),
        (0.25, (6, 5, 4), (None, 1, None)),
        (0.9, (1, 4097), None),
    ):
        layer = layers.Dropout(rate, noise_shape=noise_shape, seed=11)
        for _ in range(5):
            dropped = layer(np.ones(shape, np.float32), training=True)
            kept.append(np.asarray(keras.ops.convert_to_numpy(dropped)).ravel() > 0)
    assert hashlib.sha256(np.packbits(np.concatenate(kept)).tobytes()).hexdigest() == LAYER_BITS


def test_a_compiled_run_drops_what_the_calls_of_the_layer_would():
    """Also where a dispatch has many steps. The row of step k is one in block k alone, so that the weights there, which
    begin as zeros, show which of it was kept."""
    from unidl import Trainer

    steps, size = 20, 50
    inputs = keras.Input((steps * size,))
    values = layers.Dropout(0.25, seed=5)(inputs)
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(values)
    model = keras.Model(inputs, outputs)
    x = np.repeat(np.eye(steps, dtype=np.float32), size, axis=1)
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(0.5), loss="mean_squared_error")
    trainer.fit((x, np.ones((steps, 1))), batch_size=1, shuffle=False, progress="quiet")
    learnt = np.asarray(keras.ops.convert_to_numpy(model.weights[0].value)).reshape(steps, size)
    for step in range(steps):
        expected = mask((1, steps * size), 5, step, 0.75).reshape(steps, size)[step]
        np.testing.assert_array_equal(learnt[step] > 0, expected)


def test_whole_channels_drop_where_asked():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=5)
    dropped = np.asarray(keras.ops.convert_to_numpy(layer(np.ones((6, 5, 4), np.float32), training=True)))
    assert (dropped == dropped[:, :1]).all()
    assert 0 < dropped.mean() < 2


def test_a_model_with_layers_of_keras_is_told_which_of_them_draw_elsewhere(caplog):
    """Stock dropout works, but its run cannot move: somebody who wants that must know."""
    import logging

    from unidl import Trainer

    inputs = keras.Input((6,), dtype="int32")
    values = keras.layers.Embedding(5, 4)(inputs)
    values = layers.Dropout(0.1, seed=1, name="ours")(keras.layers.LSTM(4, name="quiet")(values))
    values = keras.layers.Dropout(0.1, name="stock")(values)
    model = keras.Model(inputs, keras.layers.Dense(1)(values), name="mixed")
    assert layers.foreign_draws(model) == ["stock"]
    with caplog.at_level(logging.INFO, logger="unidl"):
        Trainer(model, loss="mse").fit((np.ones((4, 6), np.int32), np.ones((4, 1))), progress="quiet")
    assert "mixed: 'stock' use Keras's random generators" in caplog.text
    assert layers.foreign_draws(build_cnn((18, 18, 1), 3, dropout=0.2)) == []


def test_builders_use_it_and_it_can_be_saved_by_keras(tmp_path):
    for model in (build_cnn((18, 18, 1), 3, dropout=0.2), build_lstm(12, 6, units=4, embedding_size=4, dropout=0.2)):
        dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert dropouts
        assert all(type(layer) is layers.Dropout for layer in dropouts)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        shape = (2, *model.input_shape[1:])
        x = draws().integers(0, 3, size=shape).astype(model.inputs[0].dtype)
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
