"""An error names what is wrong in a few words, whatever a person passed: never a screen full of their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from unidl import Trainer, generate_text, load_data
from unidl.data import Split
from unidl.data.checks import check_fits
from unidl.data.images import check_form
from unidl.errors import UnidlError
from unidl.generation import Draws
from unidl.shortening import LONGEST, listed, shortened, shown
from unidl.training.arguments import callbacks_in, whole

MANY = 60_000
MOST = 700
"""Characters of a message: some sentences, and at most two values in it."""


def message(call, *arguments, **named):
    with pytest.raises(UnidlError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert len(text) < MOST, f"{len(text)} characters: {text[:300]} ..."
    return text


@pytest.fixture(scope="module")
def model(backend):
    import keras

    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile("sgd", "mse")
    return model


@pytest.fixture(scope="module")
def pictures():
    return list(np.zeros((MANY, 4, 4), np.float32))


def test_a_list_of_images_is_most_likely_one_array(pictures):
    text = message(Split, pictures, np.zeros(MANY))
    assert "x[0] has 4, x[1] has 4" in text
    assert f"and {MANY - 4:,} more" in text
    assert "x is a list of 60,000 arrays of shape (4, 4)" in text
    assert "If each is one sample, pass numpy.stack(x)." in text
    assert "pass numpy.stack(y)" in message(Split, np.zeros((MANY, 4)), list(np.zeros((MANY, 3))))
    assert "pass numpy.stack(x)" in message(Split, pictures[:2], np.zeros(2))
    assert "Row k of every part" in message(Split, pictures[:2], np.zeros(3)), "two inputs of too many rows"


def test_so_it_is_to_predict(model, pictures):
    assert "pass numpy.stack(x)" in message(Trainer(model).predict, pictures)
    assert "pass numpy.stack(x)" in message(Trainer(model).fit, (pictures[:8], pictures[:8]), progress="quiet")
    assert Trainer(model).predict(np.stack(pictures[:3])).shape == (3, 1)


def test_several_inputs_of_one_row_number_are_left_alone():
    assert len(Split([np.zeros((5, 2)), np.zeros((5, 2))], np.zeros(5))) == 5


@pytest.mark.parametrize(
    "value", [list(range(MANY)), np.zeros(MANY), "a" * MANY, {n: n for n in range(MANY)}, 10**4000]
)
def test_no_argument_is_printed_whole(model, value, tmp_path):
    message(whole, "epochs", [value])
    message(callbacks_in, [value])
    message(check_form, value, None)
    message(check_form, None, value)
    message(load_data, "digits", test_fraction=[value])
    message(load_data, "digits", seed=[value])
    message(load_data, "python-docs", vocabulary=[value, value, value])
    for argument in ("temperature", "top_k", "top_p", "seed"):
        message(Draws, **{argument: [value]})
    message(generate_text, model, "a", words=[value])


def test_no_list_of_the_users_is_printed_whole(model, tmp_path):
    names = {f"part {number}": np.zeros((2, 4, 4)) for number in range(MANY // 10)}
    message(check_fits, model, Split(names), for_training=False)
    message(Split, {name: np.zeros((0, 4)) for name in names})
    message(Split, "a" * MANY)
    message(Split, [["a" * MANY], [1, 2]])
    message(Split, np.zeros(3, [(f"field {number}", "i4") for number in range(1000)]))
    np.savez(tmp_path / "a.npz", **{f"x{number}": np.zeros(1) for number in range(300)})
    assert "and 295 more" in message(load_data, tmp_path / "a.npz")
    message(load_data, "a" * 250)


@given(some.one_of(some.text(), some.binary(), some.lists(some.integers()), some.floats(), some.none()))
def test_a_value_is_shown_in_one_short_line(value):
    text = shown(value)
    assert len(text) <= LONGEST
    assert "\n" not in text
    assert text == repr(value) or len(repr(value)) > 20


@given(some.lists(some.text(min_size=1).map(shortened), max_size=20))
def test_a_list_says_how_many_it_leaves_out(names):
    text = listed(names)
    if len(names) <= 6:
        assert text == ", ".join(names)
    else:
        assert text == f"{', '.join(names[:5])} and {len(names) - 5} more"
    assert listed(iter(names), len(names)) == text
