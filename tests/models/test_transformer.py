"""The transformers: what a step sees, what padding does, their sizes and heads, and what they refuse to be."""

from __future__ import annotations

import numpy as np
import pytest

from unidl import Trainer, build_text_classifier, build_transformer, load_model
from unidl.errors import ModelError
from unidl.models import build, record_of

pytestmark = pytest.mark.usefixtures("backend")

SMALL = {"vocabulary_size": 9, "sequence_length": 5, "units": 8, "heads": 2, "layers": 2, "feedforward_units": 6}
FLAT = SMALL | {"layers": 1}
"""For what is the same with any number of blocks: JAX compiles a step of two for twice as long."""
ANY = SMALL | {"sequence_length": None, "positions": "sines"}
TEXTS = {"vocabulary_size": 9, "classes": 3, "sequence_length": 5, "units": 8, "heads": 2}


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def tokens(count=4, length=5):
    return np.random.default_rng(0).integers(1, 9, (count, length)).astype("int32")


def test_the_defaults_have_these_many_parameters():
    """The published figures are of these networks."""
    assert build_transformer().count_params() == 656_360
    assert build_text_classifier().count_params() == 118_858


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_later_token_never_changes_an_earlier_output(mask_padding, position):
    """A text generator that saw later tokens would look perfect in training and write nonsense."""
    model = build_transformer(**SMALL, output="steps", mask_padding=mask_padding)
    changed = tokens()
    changed[:, position] = 9 - changed[:, position]
    before, after = numpy(model(tokens())), numpy(model(changed))
    assert before.shape == (4, 5, 9)
    np.testing.assert_allclose(before[:, :position], after[:, :position], rtol=0, atol=1e-6)
    assert (np.abs(before - after)[:, position:].max(axis=(0, 2)) > 1e-4).all(), "and every later one"


def test_without_causal_every_step_sees_every_other():
    model = build_transformer(**SMALL, output="steps", causal=False)
    changed = tokens()
    changed[:, -1] = 9 - changed[:, -1]
    assert (np.abs(numpy(model(tokens())) - numpy(model(changed))).max(axis=(0, 2)) > 1e-5).all()


@pytest.mark.parametrize("output", ["last", "average"])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_behind_a_text_changes_nothing_where_it_is_masked(output, causal):
    masked = build_transformer(**ANY, output=output, causal=causal, mask_padding=True)
    short, padded = tokens(), np.pad(tokens(), [(0, 0), (0, 3)])
    np.testing.assert_allclose(numpy(masked(short)), numpy(masked(padded)), rtol=0, atol=1e-6)
    plain = build_transformer(**ANY, output=output, causal=causal)
    assert np.abs(numpy(plain(short)) - numpy(plain(padded))).max() > 1e-5


def test_padding_behind_a_text_changes_no_class():
    model = build_text_classifier(**TEXTS | {"sequence_length": None, "positions": "sines"})
    short, padded = tokens(), np.pad(tokens(), [(0, 0), (0, 3)])
    np.testing.assert_allclose(numpy(model(short)), numpy(model(padded)), rtol=0, atol=1e-6)


def test_a_row_of_padding_alone_is_the_same_everywhere_and_not_nan():
    """Averages divide by the number of tokens, and attention by what it sees."""
    for model in (build_text_classifier(**TEXTS), build_transformer(**SMALL, mask_padding=True)):
        assert np.isfinite(numpy(model(np.zeros((2, 5), "int32")))).all()


def test_the_order_of_the_tokens_matters():
    for model in (build_transformer(**ANY, causal=False, output="average"), build_transformer(**SMALL)):
        assert np.abs(numpy(model(tokens())) - numpy(model(tokens()[:, ::-1]))).max() > 1e-4


@pytest.mark.parametrize("precision", [None, "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "make",
    [lambda **given: build_transformer(**SMALL, **given), lambda **given: build_text_classifier(**TEXTS, **given)],
)
def test_outputs_are_probabilities_in_float32(make, precision):
    import keras

    model = make(precision=precision)
    given = model(tokens())
    assert keras.backend.standardize_dtype(given.dtype) == "float32"
    np.testing.assert_allclose(numpy(given).sum(axis=-1), 1, atol=1e-6)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("block_1_attention").compute_dtype == (precision or "float32").removeprefix("mixed_")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": 1, "feedforward_units": None},
        {"targets": 3, "output": "average"},
        {"classes": 4, "dropout": 0.3, "mask_padding": True},
        {"sequence_length": None, "positions": "sines", "heads": 8},
    ],
)
def test_every_network_is_counted_right_before_it_is_built(changes):
    """A size that is counted too small would take memory that a file of weights does not justify."""
    from unidl.models.budget import UNSTORED, TooLargeError, at_most

    model = build_transformer(**SMALL | changes)
    with pytest.raises(TooLargeError) as caught, at_most(-UNSTORED):
        build(record_of(model).architecture)
    assert caught.value.parameters == model.count_params()


def test_a_value_is_unbounded_and_in_float32():
    import keras

    model = build_transformer(**SMALL, targets=2, precision="mixed_bfloat16")
    given = model(tokens())
    assert given.shape == (4, 2)
    assert keras.backend.standardize_dtype(given.dtype) == "float32"
    assert model.layers[-1].activation is keras.activations.linear


def test_dropout_is_ours_with_a_seed_for_each_layer():
    from unidl.layers import Dropout, foreign_draws

    model = build_transformer(**SMALL, dropout=0.3)
    dropouts = [layer for layer in model.layers if isinstance(layer, Dropout)]
    assert len(dropouts) == len({layer.seed for layer in dropouts}) == 5
    assert foreign_draws(model) == []


def test_every_variable_has_its_value_from_the_seed():
    """Python's random state, from which Keras seeds what has no seed, must not reach the model."""
    first, second, other = (build_transformer(**SMALL, dropout=0.3, seed=seed) for seed in (1, 1, 2))
    assert [numpy(v).tolist() for v in first.variables] == [numpy(v).tolist() for v in second.variables]
    assert not np.array_equal(numpy(first.weights[0]), numpy(other.weights[0]))


def pairs(rows=240, seed=0):
    """Tokens in random order, the token to come being the second of them: what attention and places can tell."""
    x = np.random.default_rng(seed).integers(1, 9, (rows, 5)).astype("int32")
    return x, x[:, 1].copy()


def test_it_learns_what_only_attention_to_a_place_can_tell(tmp_path):
    """The token to come is the second of five: without attention or places a model cannot do better than chance, whose
    crossentropy is log 8 = 2.08. And it is saved, loaded, and predicts the same to the bit."""
    trainer = Trainer(build_transformer(**SMALL | {"units": 16}, seed=1), optimizer=_adam(0.01))
    trainer.fit(pairs(), epochs=12, batch_size=24, progress="quiet")
    found = trainer.evaluate(pairs(seed=1))
    assert found["loss"] < 1.0
    trainer.save(tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert record_of(again).architecture == record_of(trainer.model).architecture
    assert np.array_equal(Trainer(again).predict(tokens()), trainer.predict(tokens()))


def test_a_classifier_learns_which_token_is_there_and_not_where():
    drawn = np.random.default_rng(0)
    x = drawn.integers(4, 9, (240, 5)).astype("int32")
    y = drawn.integers(3, size=240).astype("int32")
    x[np.arange(240), drawn.integers(4, size=240)] = y + 1
    x[::2, 4] = 0
    trainer = Trainer(build_text_classifier(**TEXTS), optimizer=_adam(0.01))
    trainer.fit((x[:180], y[:180]), epochs=10, batch_size=20, progress="quiet")
    assert trainer.evaluate((x[180:], y[180:]))["accuracy"] > 0.9


def test_training_goes_on_to_the_bit_from_a_checkpoint(tmp_path):
    def trained(**options):
        trainer = Trainer(build_transformer(**FLAT, dropout=0.3, seed=2), seed=4)
        trainer.fit(pairs(48), batch_size=16, progress="quiet", **options)
        return [numpy(weight) for weight in trainer.model.weights]

    whole = trained(epochs=3)
    trained(epochs=1, checkpoint=tmp_path, save_every_steps=2)
    resumed = trained(epochs=3, checkpoint=tmp_path, save_every_steps=2, resume=True)
    assert all(np.array_equal(one, other) for one, other in zip(whole, resumed, strict=True))


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_it_trains_evaluates_and_predicts_in_a_mixed_precision(precision):
    trainer = Trainer(build_transformer(**FLAT, precision=precision))
    trainer.fit(pairs(32), batch_size=16, progress="quiet")
    assert np.isfinite(trainer.evaluate(pairs(32))["loss"])
    assert np.isfinite(trainer.predict(pairs(4)[0])).all()
    # PyTorch cannot trace the optimizer that scales the loss.
    assert trainer.why_not_compiled in (
        None,
        "the step cannot be traced: it updates variables depending on a value",
    )


def test_keras_trains_saves_and_loads_it(tmp_path):
    import keras

    from unidl.models.initial_weights import drawn_later

    model = build_transformer(**ANY, dropout=0.1, mask_padding=True)
    model.compile("adam", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(tokens(), np.arange(4), batch_size=2, verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    with drawn_later():
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(numpy(again(tokens())), numpy(model(tokens())))


def test_a_text_goes_on_alike_in_a_window_of_any_length():
    """Padding behind a text keeps programs few, and must not be read."""
    from unidl.generation_windows import Windows

    for given in ({}, {"mask_padding": True}, {"causal": False}, {"causal": False, "mask_padding": True}):
        model = build_transformer(**ANY, **given)
        text = [3, 1, 4, 1, 5]
        expected = numpy(model(np.array([text], "int32")))[0]
        np.testing.assert_allclose(Windows(model, model).after(text), expected, rtol=0, atol=1e-6)


def test_a_sequence_that_is_too_long_for_its_places_is_an_error():
    import keras

    from unidl.layers import PositionEmbedding

    with pytest.raises(ModelError, match="4096 places apart, and the sequence has 4097"):
        PositionEmbedding(name="positions")(keras.ops.zeros((1, 4097, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary_size": 1}, "vocabulary_size=1): it must be a whole number of at least 2"),
        ({"sequence_length": 0}, "a whole number of at least 1"),
        ({"sequence_length": None}, "or positions='sines'"),
        ({"units": 10, "heads": 4}, "use a number that divides"),
        ({"heads": 0}, "a whole number of at least 1"),
        ({"layers": 33}, "at most 32"),
        ({"feedforward_units": 0}, "a whole number of at least 1"),
        ({"positions": "none"}, "it must be one of 'learned', 'sines'"),
        ({"causal": 1}, "it must be True or False"),
        ({"output": "first"}, "it must be one of 'last', 'steps', 'average'"),
        ({"mask_padding": "yes"}, "it must be True or False"),
        ({"classes": 1}, "a whole number of at least 2"),
        ({"classes": 3, "targets": 2}, "classes=3 asks for probabilities instead"),
        ({"dropout": 1}, "from 0 up to, but not including, 1"),
        ({"units": 10**9, "heads": 1}, "parameters"),
        ({"vocabulary_size": 10**9}, "parameters"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(arguments, message):
    with pytest.raises(ModelError, match="Cannot use build_transformer") as caught:
        build_transformer(**arguments)
    assert message in str(caught.value)


def test_a_classifier_needs_classes():
    with pytest.raises(ModelError, match=r"Cannot use build_text_classifier\(classes=1\)"):
        build_text_classifier(classes=1)


def _adam(rate):
    import keras

    return keras.optimizers.Adam(rate)
