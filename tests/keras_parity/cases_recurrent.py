"""Recurrent layers in all their forms."""

from __future__ import annotations

import keras
from cases import SIGN_LIKE, TO_TWO, Case, compiled, noise, padded, regressor
from keras import layers, ops

SERIES = (noise(6, 3), TO_TWO)
FILMS = (noise(3, 5, 5, 2), TO_TWO)


class Minimal(layers.Layer):
    """A cell of a user's own."""

    def __init__(self, units):
        super().__init__()
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, self.units), name="kernel")

    def call(self, inputs, states, training=False):
        state = ops.tanh(ops.matmul(ops.concatenate([inputs, states[0]], axis=-1), self.kernel))
        return state, [state]


def reading(*parts, **options):
    return lambda: regressor((6, 3), *(part() for part in parts), **{name: make() for name, make in options.items()})


def lstm(units=4, **options):
    return lambda: layers.LSTM(units, **options)


def gru(units=4, **options):
    return lambda: layers.GRU(units, **options)


def simple(units=4, **options):
    return lambda: layers.SimpleRNN(units, **options)


def stateful(kind):
    def build():
        inputs = keras.Input(batch_shape=(8, 6, 3))
        return compiled(keras.Model(inputs, layers.Dense(2)(kind(4, stateful=True)(inputs))))

    return build


def with_states():
    inputs = keras.Input((6, 3))
    steps, hidden, cell = layers.LSTM(4, return_sequences=True, return_state=True)(inputs)
    decoded = layers.LSTM(4)(steps, initial_state=[cell, hidden])
    return compiled(keras.Model(inputs, layers.Dense(2)(decoded)))


def reader(kind):
    def build():
        tokens = keras.Input((7,), dtype="int32")
        values = layers.Embedding(9, 4, mask_zero=True)(tokens)
        values = layers.Bidirectional(kind(4, return_sequences=True))(values)
        return compiled(keras.Model(tokens, layers.Dense(2)(kind(3)(values))))

    return build


def adam():
    return keras.optimizers.Adam(0.01)


IN_PLACE = {"torch": "modified by an inplace operation"}
"""Keras keeps the state of a stateful LSTM or GRU in the tensor that the gradient of the step before still needs."""

CASES = [
    Case("LSTM", reading(lstm(return_sequences=True), lstm(3)), SERIES),
    Case("LSTM backwards", reading(lstm(go_backwards=True, return_sequences=True)), SERIES),
    Case("LSTM unrolled", reading(lstm(unroll=True), optimizer=adam), SERIES, share=SIGN_LIKE),
    Case("LSTM with dropout", reading(lstm(dropout=0.2, recurrent_dropout=0.3, seed=3)), SERIES),
    Case("LSTM unlike the default", reading(lstm(activation="relu", use_bias=False, unit_forget_bias=False)), SERIES),
    Case("LSTM's states", with_states, SERIES),
    Case("LSTM with Adam", reading(lstm(), optimizer=adam), SERIES, share=SIGN_LIKE),
    Case("GRU", reading(gru(return_sequences=True), gru(3)), SERIES),
    Case("GRU with dropout", reading(gru(dropout=0.2, recurrent_dropout=0.3, seed=3)), SERIES),
    Case("GRU, reset before", reading(gru(reset_after=False, go_backwards=True, return_sequences=True)), SERIES),
    Case("GRU unrolled", reading(gru(unroll=True), optimizer=adam), SERIES, share=SIGN_LIKE),
    Case("SimpleRNN", reading(simple(return_sequences=True), simple(3)), SERIES),
    Case("SimpleRNN with Adam", reading(simple(), optimizer=adam), SERIES, share=SIGN_LIKE),
    Case("SimpleRNN backwards, dropout", reading(simple(go_backwards=True, dropout=0.2, seed=3)), SERIES),
    Case("stateful LSTM", stateful(layers.LSTM), SERIES, untrained=IN_PLACE),
    Case("stateful GRU", stateful(layers.GRU), SERIES, untrained=IN_PLACE),
    Case("stateful SimpleRNN", stateful(layers.SimpleRNN), SERIES),
    Case("masked, bidirectional LSTM", reader(layers.LSTM), (padded(9, 7), TO_TWO)),
    Case("masked, bidirectional GRU", reader(layers.GRU), (padded(9, 7), TO_TWO)),
    Case("masked, bidirectional SimpleRNN", reader(layers.SimpleRNN), (padded(9, 7), TO_TWO)),
    Case(
        "bidirectional, summed",
        reading(lambda: layers.Bidirectional(layers.LSTM(4), merge_mode="sum")),
        SERIES,
    ),
    Case(
        "bidirectional, two kinds",
        reading(
            lambda: layers.Bidirectional(
                layers.LSTM(4, return_sequences=True),
                backward_layer=layers.GRU(4, go_backwards=True, return_sequences=True),
                merge_mode="mul",
            )
        ),
        SERIES,
    ),
    Case(
        "RNN of cells",
        reading(
            lambda: layers.RNN(layers.LSTMCell(4), return_sequences=True),
            lambda: layers.RNN(layers.GRUCell(4), return_sequences=True),
            lambda: layers.RNN(layers.SimpleRNNCell(3)),
        ),
        SERIES,
    ),
    Case("RNN of a cell of one's own", reading(lambda: layers.RNN(Minimal(4), return_sequences=True)), SERIES),
    Case(
        "stacked cells with Adam",
        reading(lambda: layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)]), optimizer=adam),
        SERIES,
        share=SIGN_LIKE,
    ),
    Case(
        "stacked cells of several kinds",
        reading(lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(4), layers.SimpleRNNCell(3)]))),
        SERIES,
    ),
    Case(
        "time distributed",
        reading(
            lambda: layers.TimeDistributed(layers.Dense(4, activation="tanh")),
            lambda: layers.TimeDistributed(layers.BatchNormalization()),
        ),
        SERIES,
    ),
    Case(
        "time distributed convolution",
        lambda: regressor((3, 5, 5, 2), layers.TimeDistributed(layers.Conv2D(3, 3, activation="relu"))),
        FILMS,
    ),
    Case(
        "ConvLSTM1D with Adam",
        lambda: regressor((3, 6, 2), layers.ConvLSTM1D(3, 3, return_sequences=True), optimizer=adam()),
        (noise(3, 6, 2), TO_TWO),
        share=SIGN_LIKE,
    ),
    Case(
        "ConvLSTM2D",
        lambda: regressor((3, 5, 5, 2), layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)),
        FILMS,
    ),
    Case(
        "ConvLSTM2D with Adam", lambda: regressor((3, 5, 5, 2), layers.ConvLSTM2D(2, 3), optimizer=adam()), FILMS, 1e-2
    ),
    Case(
        "ConvLSTM3D",
        lambda: regressor((2, 3, 3, 3, 1), layers.ConvLSTM3D(2, 2, dropout=0.1, seed=4)),
        (noise(2, 3, 3, 3, 1), TO_TWO),
    ),
]
