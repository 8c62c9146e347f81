"""The recurrent network: its size, its inputs and heads, its outputs, and what it refuses to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unidl.errors import ModelError
from unidl.models import build_lstm
from unidl.models.initial_weights import drawn_later
from unidl.models.lstm import recurrent_parameters

pytestmark = pytest.mark.usefixtures("backend")

SMALL = {"vocabulary_size": 9, "sequence_length": 5, "units": 4, "embedding_size": 3}
SERIES = {"sequence_length": 5, "features": 2, "units": 4}


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def tokens(count=4, length=5):
    return np.random.default_rng(0).integers(1, 9, (count, length)).astype("int32")


def series(count=4, length=5, features=2):
    return np.random.default_rng(0).random((count, length, features), dtype=np.float32)


def loaded(path, **options):
    """What Keras reads from a file. Its initial draws are left out: on JAX they compile for half a minute."""
    import keras

    with drawn_later():
        return keras.saving.load_model(path, safe_mode=True, **options)


def test_the_default_has_388_584_parameters_in_these_layers():
    """The published figures are of this network: 128 000 + 131 584 + 129 000 parameters."""
    model = build_lstm()
    assert model.count_params() == 388_584
    assert model.input_shape == (None, 20)
    assert model.output_shape == (None, 1000)
    assert [layer.name for layer in model.layers] == [
        "tokens",
        "embedding",
        "lstm_1",
        "logits",
        "probabilities",
    ]


@st.composite
def requests(draw):
    asked = {
        "sequence_length": draw(st.sampled_from([None, 1, 5])),
        "units": draw(st.integers(1, 5)),
        "layers": draw(st.integers(1, 3)),
        "cell": draw(st.sampled_from(["lstm", "gru"])),
        "bidirectional": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.5])),
        "output": draw(st.sampled_from(["last", "steps"])),
        "mask_padding": draw(st.booleans()),
        draw(st.sampled_from(["classes", "targets"])): draw(st.integers(2, 6)),
    }
    if draw(st.booleans()):
        return asked | {"features": draw(st.integers(1, 4))}
    return asked | {"vocabulary_size": draw(st.integers(2, 9)), "embedding_size": draw(st.integers(1, 4))}


@given(requests())
@settings(max_examples=20, deadline=None)
def test_every_possible_network_is_built_and_counted_right(asked):
    model = build_lstm(**asked)
    outputs = asked.get("classes") or asked["targets"]
    steps = (asked["sequence_length"],) if asked["output"] == "steps" else ()
    assert model.output_shape == (None, *steps, outputs)
    size = asked.get("features") or asked["embedding_size"]
    recurrent = recurrent_parameters(size, asked["units"], asked["layers"], asked["cell"], asked["bidirectional"])
    width = asked["units"] * (2 if asked["bidirectional"] else 1)
    embedding = asked.get("vocabulary_size", 0) * asked.get("embedding_size", 0)
    assert model.count_params() == embedding + recurrent + (width + 1) * outputs


@pytest.mark.parametrize(
    ("cell", "precision"),
    [("lstm", None), ("lstm", "mixed_bfloat16"), ("lstm", "mixed_float16"), ("gru", "mixed_bfloat16")],
)
def test_outputs_are_probabilities_in_float32(keras, cell, precision):
    model = build_lstm(**SMALL, cell=cell, precision=precision)
    given = model(tokens())
    assert keras.backend.standardize_dtype(given.dtype) == "float32"
    assert (numpy(given) >= 0).all()
    assert numpy(given).sum(axis=-1) == pytest.approx(np.ones(4), abs=1e-6)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer(f"{cell}_1").compute_dtype == (precision or "float32").removeprefix("mixed_")


def test_every_step_has_its_own_probabilities_and_sees_only_the_past():
    """A text generator that saw later tokens would look perfect in training and write nonsense."""
    model = build_lstm(**SMALL, output="steps", layers=2)
    changed = tokens()
    changed[:, -1] = 9 - changed[:, -1]
    before, after = numpy(model(tokens())), numpy(model(changed))
    assert before.shape == (4, 5, 9)
    assert before.sum(axis=-1) == pytest.approx(np.ones((4, 5)), abs=1e-6)
    assert np.allclose(before[:, :-1], after[:, :-1], atol=1e-7)
    assert not np.allclose(before[:, -1], after[:, -1], atol=1e-4)


def test_both_directions_let_the_first_step_see_the_last():
    """What the docstring warns of: wrong for the next token, right for labelling a whole sequence."""
    model = build_lstm(**SMALL, output="steps", bidirectional=True)
    changed = tokens()
    changed[:, -1] = 9 - changed[:, -1]
    assert not np.array_equal(numpy(model(tokens()))[:, 0], numpy(model(changed))[:, 0])


def test_padding_changes_nothing_where_it_is_masked():
    masked, plain = (build_lstm(**SMALL | {"sequence_length": None}, mask_padding=mask) for mask in (True, False))
    short, padded = tokens(), np.pad(tokens(), [(0, 0), (0, 2)])
    assert np.allclose(numpy(masked(short)), numpy(masked(padded)), atol=1e-6)
    assert not np.allclose(numpy(plain(short)), numpy(plain(padded)), atol=1e-6)


def test_padded_measurements_are_masked_too():
    model = build_lstm(**SERIES | {"sequence_length": None}, targets=2, mask_padding=True)
    padded = np.pad(series(), [(0, 0), (0, 2), (0, 0)])
    assert np.allclose(numpy(model(series())), numpy(model(padded)), atol=1e-6)


def test_any_length_goes_in_where_none_is_said():
    model = build_lstm(**SMALL | {"sequence_length": None})
    assert numpy(model(tokens(length=3))).shape == numpy(model(tokens(length=11))).shape == (4, 9)


def test_a_regression_gives_unbounded_float32_numbers(keras):
    model = build_lstm(**SERIES, targets=3, precision="mixed_bfloat16")
    given = model(series())
    assert given.shape == (4, 3)
    assert keras.backend.standardize_dtype(given.dtype) == "float32"
    assert model.layers[-1].activation is keras.activations.linear


def test_measurements_are_classified():
    given = numpy(build_lstm(**SERIES, classes=3)(series()))
    assert given.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-6)


def test_dropout_is_layers_of_its_own_with_seeds_of_their_own(keras):
    """Dropout inside a recurrent layer would cost the fast kernel; equal seeds would drop equal places."""
    model = build_lstm(**SMALL, layers=2, dropout=0.3, seed=5)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.name for layer in dropouts] == ["dropout_0", "dropout_1", "dropout_2"]
    assert len({layer.seed for layer in dropouts}) == 3
    assert model.get_layer("lstm_1").dropout == 0


def test_measurements_are_not_dropped_themselves(keras):
    model = build_lstm(**SERIES, classes=3, dropout=0.3)
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == ["dropout_1"]


def test_every_variable_has_its_value_from_the_seed():
    """Python's random state, from which Keras seeds what has no seed, must not reach the model."""
    first, second = (build_lstm(**SMALL, bidirectional=True, dropout=0.3) for _ in range(2))
    assert [numpy(v.value).tolist() for v in first.variables] == [numpy(v.value).tolist() for v in second.variables]


def test_keras_trains_saves_and_loads_it(tmp_path):
    model = build_lstm(**SMALL, bidirectional=True, dropout=0.1, mask_padding=True)
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(tokens(), np.arange(4), batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert np.array_equal(numpy(again(tokens())), numpy(model(tokens())))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary_size": 1}, "vocabulary_size=1): it must be a whole number of at least 2"),
        ({"vocabulary_size": None}, "pass the number of different tokens, or features="),
        ({"sequence_length": 0}, "a whole number of at least 1"),
        ({"sequence_length": 2.5}, "a whole number of at least 1"),
        ({"units": -1}, "a whole number of at least 1"),
        ({"units": 1.5}, "a whole number of at least 1"),
        ({"embedding_size": True}, "a whole number of at least 1"),
        ({"layers": 0}, "a whole number of at least 1"),
        ({"cell": "rnn"}, "cell='rnn'): it must be one of 'lstm', 'gru'"),
        ({"cell": ["lstm"]}, "it must be one of 'lstm', 'gru'"),
        ({"output": "all"}, "output='all'): it must be one of 'last', 'steps'"),
        ({"bidirectional": "yes"}, "it must be True or False"),
        ({"mask_padding": 1}, "it must be True or False"),
        ({"dropout": 1}, "from 0 up to, but not including, 1"),
        ({"classes": 1}, "a whole number of at least 2"),
        ({"targets": 0}, "a whole number of at least 1"),
        ({"features": 0, "classes": 2}, "a whole number of at least 1"),
        ({"features": 3}, "pass classes= for probabilities or targets= for numbers"),
        ({"classes": 3, "targets": 2}, "classes=3 asks for probabilities instead"),
        ({"features": 3, "classes": 2, "vocabulary_size": 50}, "with features=3 the inputs are measurements"),
        ({"units": 10**9}, "parameters"),
        ({"vocabulary_size": 10**9}, "parameters"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(arguments, message):
    with pytest.raises(ModelError) as caught:
        build_lstm(**arguments)
    assert "Cannot use build_lstm" in str(caught.value)
    assert message in str(caught.value)
