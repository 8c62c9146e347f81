"""Recurrent layers right behind an embedding multiply its table, not the rows that were looked up in it, and train as
Keras trains them.

Without this a shortcut taken where it does not hold would change what a model learns.
"""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from training import FLOAT32, assert_same_weights, draws, weights_of

from unidl import Trainer, devices
from unidl.kernels import Lookups
from unidl.models import initialise

WORDS = 12
ROWS = 8
STEPS = 5


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


TABLE = {
    "LSTM, backwards": (lambda vectors: lstm(go_backwards=True)(vectors), {}),
    "LSTM, all steps": (lambda vectors: lstm(go_backwards=True, return_sequences=True)(vectors)[:, 2], {}),
    "GRU": (lambda vectors: gru()(vectors), {}),
    "both ways": (both_ways, {}),
    "read twice": (read_twice, {}),
    "frozen table": (lambda vectors: gru()(vectors), {"embedding": {"trainable": False}}),
}
ROWS_OF_IT = {
    "dropout between": (dropped, {}),
    "few tokens": (lambda vectors: gru()(vectors), {"rows": 4}),
    "bfloat16 table": (lambda vectors: gru(dtype="float32")(vectors), {"embedding": {"dtype": "bfloat16"}}),
}


@pytest.mark.parametrize(
    ("read", "options", "by_table"),
    [
        *(pytest.param(*case, True, id=name) for name, case in TABLE.items()),
        *(pytest.param(*case, False, id=name) for name, case in ROWS_OF_IT.items()),
    ],
)
def test_layers_behind_an_embedding_train_as_in_keras(read, options, by_table, backend, monkeypatch):
    with backend.kernels(devices.resolve().device):
        pass  # the first use checks the kernels, which is not what is looked at here
    if backend.name == "torch":
        # Where rows times units are fewer, oneDNN's LSTM is the faster one.
        monkeypatch.setattr("unidl_torch.kernels_recurrent.SPLIT", 0)
    answers: list[bool] = []

    def behind(self, vectors, behind=Lookups.behind):
        found = behind(self, vectors)
        answers.append(found is not None)
        return found

    monkeypatch.setattr(Lookups, "behind", behind)
    rows = options.get("rows", ROWS)
    theirs, x, y = after_embedding(read, **options)
    start = weights_of(theirs)
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


class Rows:
    """Stands for tokens and for what they look up: something that can be held weakly."""

    shape = (8, 6)
    dtype = "int32"


def embedding(**changes):
    """What `Lookups` looks at of an Embedding."""
    layer = {"lora_enabled": False, "quantization_mode": None, "compute_dtype": "float32", "variable_dtype": "float32"}
    return SimpleNamespace(**layer | {"embeddings": np.zeros((12, 4), np.float32)} | changes)


def test_a_lookup_is_known_as_long_as_its_rows_are():
    lookups = Lookups()
    rows, tokens = Rows(), Rows()
    # As a list, so that nothing else holds the rows.
    given = [rows]
    lookups.noticed(lambda layer, inputs: given.pop())(embedding(), tokens)
    assert lookups.behind(Rows()) is None
    found = lookups.behind(rows)
    assert found is not None
    assert tuple(found[0].shape) == (12, 4)
    assert found[1] is tokens
    del rows
    gc.collect()
    assert not lookups._known


@pytest.mark.parametrize(
    ("layer", "tokens"),
    [
        pytest.param({}, np.zeros((3, 6), np.int32), id="few tokens"),
        pytest.param({}, np.zeros((4, 2, 6), np.int32), id="no sequence of tokens"),
        pytest.param({}, SimpleNamespace(shape=(None, 6), dtype="int32"), id="unknown batch"),
        pytest.param({}, np.zeros((8, 6), np.float32), id="tokens that are floats"),
        pytest.param({"lora_enabled": True}, np.zeros((8, 6), np.int32), id="LoRA"),
        pytest.param({"quantization_mode": "int8"}, np.zeros((8, 6), np.int32), id="quantized"),
        pytest.param({"compute_dtype": "float16"}, np.zeros((8, 6), np.int32), id="another type"),
    ],
)
def test_other_lookups_are_not_taken_for_a_table(layer, tokens):
    lookups, rows = Lookups(), Rows()
    lookups.noticed(lambda layer, inputs: rows)(embedding(**layer), tokens)
    assert lookups.behind(rows) is None
