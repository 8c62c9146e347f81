"""`unidl profile`. Without this a person makes the wrong layer faster."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import arrays_file, unidl

import unidl as package
from unidl import registry
from unidl.backend import Operation, StepProfile
from unidl.data.recognising import as_split
from unidl.planning.attribution import LOSS, OPTIMIZER, OTHER, Places, seconds_by_place
from unidl.planning.profile import Limits, places_of, profile
from unidl.planning.profile_wording import layer_table, notes, title
from unidl.planning.subject import cost_of
from unidl.precision import named

registry.current()  # before Keras, which otherwise takes the framework that it likes
import keras  # noqa: E402


class ByScope:
    """Places that are the scopes themselves."""

    def of(self, scope: str) -> str:
        return scope


def seconds(*operations: tuple[str, float, float, str]) -> dict[str, float]:
    return seconds_by_place(
        [Operation("op", scope, start, end, lane) for scope, start, end, lane in operations], ByScope()
    )


def test_an_operation_inside_another_one_has_its_own_time():
    assert seconds(("while", 0.0, 10.0, "1"), ("dot", 2.0, 5.0, "1"), ("add", 3.0, 4.0, "1")) == {
        "while": 7.0,
        "dot": 2.0,
        "add": 1.0,
    }


def test_a_moment_in_which_two_threads_work_is_shared():
    found = seconds(("a", 0.0, 4.0, "1"), ("b", 2.0, 6.0, "2"))
    assert found == {"a": 3.0, "b": 3.0}
    assert sum(found.values()) == 6.0  # the time in which anything ran, not the sum of both


def test_a_moment_in_which_nothing_runs_belongs_to_no_layer():
    assert seconds(("a", 1.0, 2.0, "1"), ("b", 5.0, 7.0, "1"), ("a", 7.0, 8.0, "1")) == {"a": 2.0, "b": 2.0}


def model_of_two() -> keras.Model:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="same")], name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inner(keras.layers.Dense(3, name="same")(inputs)), name="two")
    model.compile(optimizer="adam", loss="mean_squared_error")
    return model


def test_the_innermost_layer_of_a_scope_is_found():
    model = model_of_two()
    places = Places(model)
    assert places.of("jit/two/same/dot_general") == "same"
    assert places.of("gradient_tape/two/inner/same/MatMul") == "inner/same"
    assert places.of("two/inner/other") == "inner"
    assert places.of(f"{model.optimizer.name}/mul") == places.of("adam/mul") == OPTIMIZER
    assert places.of("mean_squared_error/sub") == LOSS
    assert places.of("") == places.of("somewhere") == OTHER


def test_a_layer_is_beside_the_roofline():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="one")], name="m")
    limits = Limits(1e3, 1e9, "a test")
    found = StepProfile(
        (Operation("dot", "m/one", 0.0, 4.0, "1"), Operation("dot", "m/one", 4.0, 8.0, "1")), 2, 4.5, ""
    )
    [place] = places_of(found, Places(model), cost_of(model), named("float32"), 10, limits)
    assert (place.path, place.seconds, place.calls, place.kernels) == ("one", 4.0, 1.0, ("dot",))
    assert place.flops == 10 * 3 * 2 * 4 * 5
    assert place.reached == pytest.approx(place.flops / 1e3 / 4.0)
    assert limits.ridge == 1e-6


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_each_layer_that_computes_has_a_time(name):
    tokens = np.random.default_rng(0).integers(0, 9, (8, 4)).astype("int32")
    if name == "cnn":
        model = package.build_cnn((12, 12, 1), classes=3, filters=(4,), dense_units=5)
        x = np.zeros((8, 12, 12, 1), "float32")
    elif name == "lstm":
        model, x = package.build_lstm(9, 4, units=8, embedding_size=6, classes=3), tokens
    else:
        model, x = package.build_transformer(9, 4, units=8, heads=2, layers=1, classes=3), tokens
    trainer = package.Trainer(model, device="cpu")
    before = [np.array(weight) for weight in model.get_weights()]
    made = profile(trainer, as_split((x, np.arange(8) % 3)), 8, Limits(1e9, 1e9, "a test"))
    assert made.step_seconds > 0
    computing = [place for place in made.places if place.flops]
    assert computing
    most = 0.1 * sum(place.flops for place in computing)  # smaller ones may be fused into others
    assert [place.path for place in computing if place.flops > most and not place.seconds] == []
    assert {OPTIMIZER} <= {place.path for place in made.places if place.seconds}
    rest = sum(place.calls for place in made.places if place.path == OTHER)
    assert rest < 0.7 * sum(place.calls for place in made.places)  # operations find their layers
    assert any(not np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
    assert title(made)
    assert len(layer_table(made).rows) >= len(computing)
    assert any("100% is as fast as" in line for line in notes(made))


def test_the_command_prints_json_and_draws(tmp_path):
    picture = tmp_path / "profile.png"
    answer = unidl("profile", "cnn", "--data", arrays_file(), "--batch-size", "8", "--json", "--png", picture)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1)
    assert found["recorded_seconds"] == pytest.approx(sum(layer["seconds"] for layer in found["layers"]))
    assert {"conv_1", "logits"} <= {layer["path"] for layer in found["layers"] if layer["seconds"]}
