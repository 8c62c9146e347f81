"""What each builder says of itself. Without this a model that is added lacks a command, and nobody knows until a person
asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import unidl
from unidl.data import load
from unidl.errors import ModelError
from unidl.models import Recipe, builders, record_of
from unidl.models.builder import Builder

ROOT = Path(__file__).resolve().parents[2]
NOT_BUILT_BY_DEFAULT = {"transfer": {"base": "MobileNet", "input_shape": (32, 32, 3), "weights": None}}


def build(name: str, **arguments):
    return builders.builder(name).build(**NOT_BUILT_BY_DEFAULT.get(name, {}) | arguments)


@pytest.mark.parametrize("name", builders.OURS)
def test_a_builder_of_ours_is_complete(name):
    builder = builders.builder(name)
    assert builder.name == name
    assert builder.function == f"build_{name.replace('-', '_')}"
    assert getattr(unidl, builder.function) is builder.build
    assert builder.function in unidl.__all__
    assert builder.recipe.data in load.names()
    assert {"seed", "precision", "dropout", "name"} <= set(builder.arguments)
    assert set(builder.from_data) <= set(builder.arguments)
    assert builder.head is not None
    assert builder.workload is not None
    assert builder.workload.name == name


@pytest.mark.parametrize("name", builders.OURS)
@pytest.mark.usefixtures("backend")
def test_the_layer_of_the_head_is_there_and_the_smallest_head_is_smaller(name):
    builder = builders.builder(name)
    model = build(name)
    given = record_of(model).architecture.arguments
    assert model.get_layer(builder.head(given)).input.shape[0] is None
    assert build(name, **builder.smallest_head(given)).count_params() < model.count_params()


@pytest.mark.parametrize("name", [name for name in builders.OURS if name != "transfer"])
@pytest.mark.usefixtures("backend")
def test_a_model_of_each_builder_is_a_base(name):
    model = build(name)
    above = unidl.build_transfer(model, classes=2)
    assert above.output_shape == (None, 2)
    assert [weight.shape for weight in above.layers[1].weights] == [
        weight.shape for weight in model.weights[: len(above.layers[1].weights)]
    ]


@pytest.mark.parametrize("name", builders.OURS)
def test_the_workload_says_what_the_model_is(name):
    """A comparison reports this summary."""
    workload = builders.builder(name).workload
    data = workload.data(16)
    assert len(data.x) == len(data.y) == 16
    if name in ("transformer", "text-classifier"):
        summary = workload.summary.replace(" ", "")
        assert f"{workload.build('float32').count_params()}parameters" in summary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my cnn"}, "without spaces"),
        ({"name": ""}, "without spaces"),
        ({"build": "build_cnn"}, "the function that builds"),
        ({"task": "images"}, "'image classifier', 'text classifier'"),
        ({"from_data": ("colour",)}, "data gives input_shape, classes"),
        ({"from_data": ("vocabulary_size",)}, "build_cnn has no such argument"),
        ({"verified_with": {"colour": "red"}}, "build_cnn has no such argument"),
        ({"recipe": "digits"}, "unidl.models.Recipe"),
        ({"recipe": Recipe("digits", 1, 1, None, None)}, "it must set learning_rate and schedule"),
        ({"workload": "digits"}, "unidl.models.Workload"),
        ({"smallest_head": None}, "must be given together"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(changes, message):
    with pytest.raises(ModelError, match="Cannot use Builder") as caught:
        replace(builders.builder("cnn"), **changes)
    assert message in str(caught.value)


def test_a_model_that_does_not_say_where_its_features_end_is_no_base(backend, monkeypatch):
    headless = replace(builders.builder("cnn"), head=None, smallest_head=None)
    monkeypatch.setattr(builders, "builder", lambda name: headless)
    with pytest.raises(ModelError, match="does not declare where its features end"):
        unidl.build_transfer(unidl.build_cnn((18, 18, 1)), classes=2)


@pytest.mark.parametrize("name", builders.OURS)
def test_no_other_file_of_the_core_knows_a_builder_by_its_name(name):
    """Where one does, a model of a plugin is treated as another one."""
    module = builders.OURS[name].partition(":")[0].rpartition(".")[2]
    allowed = {ROOT / "unidl" / "models" / f"{module}.py", ROOT / "unidl" / "models" / "builders.py"}
    for path in sorted((ROOT / "unidl").rglob("*.py")):
        if path in allowed:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            compared = f'== "{name}"' in line or f'!= "{name}"' in line
            assert not compared, f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_builders_can_be_compared_and_are_frozen():
    cnn = builders.builder("cnn")
    assert isinstance(cnn, Builder)
    with pytest.raises(AttributeError):
        cnn.name = "other"
    assert np.all([builders.builder(name) is builders.builder(name) for name in builders.OURS])
