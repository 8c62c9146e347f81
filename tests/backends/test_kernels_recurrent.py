"""Recurrent layers right behind an embedding multiply its table, not the rows that were looked up in it, and train as
Keras trains them.

Without this a shortcut taken where it does not hold would change what a model learns.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, draws, weights_of

from unidl import Trainer, devices, registry
from unidl.models import initialise
from unidl.models.initial_weights import drawn_later

registry.current()

from unidl.kernels import looked_up, noticed, noticing  # noqa: E402  (imports Keras, and only now is its backend decided)

WORDS = 12
ROWS = 8
STEPS = 5


@drawn_later()  # since `initialise` draws all: JAX takes long over what Keras draws
def after_embedding(read, *, embedding=None, rows=ROWS):
    """A compiled model of an Embedding, what `read` makes of its vectors, and scores; and rows to train on."""
    import keras

    tokens = keras.Input((STEPS,), dtype="int32")
    vectors = keras.layers.Embedding(WORDS, 6, **embedding or {})(tokens)
    model = keras.Model(tokens, keras.layers.Dense(WORDS, activation="softmax")(read(vectors)))
    initialise(model, seed=0)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    x = draws().integers(WORDS, size=(3 * rows, STEPS)).astype(np.int32)
    return model, x, x[:, 1]


def lstm(units=4, **options):
    import keras

    return keras.layers.LSTM(units, **options)


def gru(units=4, **options):
    import keras

    return keras.layers.GRU(units, **options)


def both_ways(vectors):
    import keras

    return keras.layers.Bidirectional(gru(return_sequences=True))(vectors)[:, 2]


def read_twice(vectors):
    """An LSTM and a mean, whose gradients meet in the table."""
    import keras

    return keras.layers.Concatenate()([lstm()(vectors), keras.layers.GlobalAveragePooling1D()(vectors)])


def dropped(vectors):
    import keras

    return lstm()(keras.layers.Dropout(0.5, seed=0)(vectors))


def encoder_decoder(vectors):
    """An LSTM that begins with the states that another one ends with."""
    _, *states = lstm(return_state=True)(vectors)
    return lstm(go_backwards=True)(vectors, initial_state=states)


def changed_in_place(vectors):
    """On PyTorch the vectors stay the same object when somebody writes to them."""
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            inputs *= 2
            return inputs

    return lstm()(Doubled()(vectors))


TABLE = {
    "LSTM, backwards": (lambda vectors: lstm(go_backwards=True)(vectors), {}),
    "LSTM, all steps": (lambda vectors: lstm(go_backwards=True, return_sequences=True)(vectors)[:, 2], {}),
    "LSTM, its states": (encoder_decoder, {}),
    "LSTM, in parts": (lambda vectors: lstm()(vectors), {"rows": 70}),
    "GRU": (lambda vectors: gru()(vectors), {}),
    "GRU, in parts": (lambda vectors: gru()(vectors), {"rows": 70}),
    "both ways": (both_ways, {}),
    "read twice": (read_twice, {}),
    "frozen table": (lambda vectors: gru()(vectors), {"embedding": {"trainable": False}}),
}
ROWS_OF_IT = {
    "dropout between": (dropped, {}),
    "changed in place": (changed_in_place, {}),
    "few tokens": (lambda vectors: gru()(vectors), {"rows": 4}),
    "bfloat16 table": (lambda vectors: gru(dtype="float32")(vectors), {"embedding": {"dtype": "bfloat16"}}),
}


def asked(backend, monkeypatch):
    """A list that takes down whether a table was found behind what a recurrent layer reads, whenever one asks."""
    name = f"unidl_{backend.name}." + ("kernels_recurrent" if backend.name == "torch" else "kernels")
    with backend.kernels(devices.resolve().device):
        pass  # the first use checks the kernels, which is not what is looked at here
    if backend.name == "torch":
        # Where rows times units are fewer, oneDNN's LSTM is the faster one.
        monkeypatch.setattr(f"{name}.SPLIT", 0)
    if backend.name == "tensorflow":
        monkeypatch.setattr(f"{name}._cores", lambda: 3)
    answers: list[bool] = []

    def asking(rows):
        found = looked_up(rows)
        answers.append(found is not None)
        return found

    monkeypatch.setattr(f"{name}.looked_up", asking)
    return answers


@pytest.mark.parametrize(
    ("read", "options", "by_table"),
    [
        *(pytest.param(*case, True, id=name) for name, case in TABLE.items()),
        *(pytest.param(*case, False, id=name) for name, case in ROWS_OF_IT.items()),
    ],
)
def test_layers_behind_an_embedding_train_as_in_keras(read, options, by_table, backend, monkeypatch):
    answers = asked(backend, monkeypatch)
    rows = options.get("rows", ROWS)
    theirs, x, y = after_embedding(read, **options)
    start = weights_of(theirs)
    assert all(np.isfinite(weight).all() for weight in start)
    with backend.on(devices.resolve().device):
        theirs.fit(x, y, batch_size=rows, epochs=2, shuffle=False, verbose=0)
    assert not answers
    ours, x, y = after_embedding(read, **options)
    ours.set_weights(start)
    Trainer(ours).fit((x, y), batch_size=rows, epochs=2, shuffle=False, progress="quiet")
    if devices.resolve().device.kind == "cpu":
        assert set(answers) == {by_table}
    if read is not dropped:
        narrow = "dtype" in options.get("embedding", {})
        assert_same_weights(weights_of(ours), weights_of(theirs), 1e-2 if narrow else FLOAT32)


@pytest.mark.parametrize("method", ["compute_loss", "predict_step"])
def test_the_table_is_not_multiplied_where_a_gradient_of_the_vectors_may_be_asked_for(method, backend, monkeypatch):
    import keras

    own = {method: lambda self, *given, **named: getattr(keras.Model, method)(self, *given, **named)}
    answers = asked(backend, monkeypatch)
    plain, x, y = after_embedding(lambda vectors: gru()(vectors))
    model = type("Own", (keras.Model,), own)(plain.inputs, plain.outputs)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    trainer = Trainer(model)
    if method == "compute_loss":
        trainer.fit((x, y), batch_size=ROWS, epochs=1, progress="quiet")
    else:
        trainer.predict(x, batch_size=ROWS)
    assert not any(answers) or backend.name == "jax"  # whose gradients are functions of what they are asked for


def lookup(table, tokens):
    """The rows of a table, by an Embedding whose call is noticed."""
    import keras

    layer = keras.layers.Embedding(*np.shape(table))
    layer.build()
    layer.set_weights([table])
    return noticed(keras.layers.Embedding.call)(layer, keras.ops.convert_to_tensor(tokens)), layer


def test_a_lookup_knows_its_table_and_tokens():
    from keras import ops

    table, tokens = draws().normal(size=(12, 4)).astype(np.float32), np.arange(48).reshape(8, 6) % 12
    rows, _ = lookup(table, tokens.astype(np.int32))
    found = looked_up(rows)
    assert found is not None
    np.testing.assert_array_equal(ops.convert_to_numpy(found[0]), table)
    np.testing.assert_array_equal(ops.convert_to_numpy(found[1]), tokens)
    assert looked_up(rows + 0) is None
    with noticing(False):
        assert looked_up(lookup(table, tokens.astype(np.int32))[0]) is None


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(np.zeros((3, 6), np.int32), id="few tokens"),
        pytest.param(np.zeros((4, 2, 6), np.int32), id="no sequence of tokens"),
        pytest.param(np.zeros((8, 6), np.int8), id="tokens of another type"),
        pytest.param(np.zeros((8, 6), np.float32), id="tokens that are floats"),
    ],
)
def test_other_lookups_are_not_taken_for_a_table(tokens):
    assert looked_up(lookup(np.zeros((12, 4), np.float32), tokens)[0]) is None


def test_the_table_of_an_embedding_with_lora_is_not_what_it_looks_up():
    import keras
    from keras import ops

    _, layer = lookup(np.zeros((12, 4), np.float32), np.zeros((8, 6), np.int32))
    tokens = ops.convert_to_tensor(np.zeros((8, 6), np.int32))
    assert looked_up(noticed(keras.layers.Embedding.call)(layer, tokens)) is not None
    layer.enable_lora(2)
    assert looked_up(noticed(keras.layers.Embedding.call)(layer, tokens)) is None
