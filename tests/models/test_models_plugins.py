"""A builder that an installed plugin brings. Without this a person with a model of their own must change unidl itself
to train it by name, save it without Keras's own words, verify and compare it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import processes
import pytest
from command_line import arrays_file

UNDER_TEST = os.environ["UNIDL_BACKEND"]


def install(folder: Path, **entries: str) -> dict[str, str]:
    """Install a plugin into a folder; the environment that finds it."""
    information = folder / "unidl_third_party_model-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: unidl-third-party-model\nVersion: 1.0\n")
    lines = "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in entries.items())
    (information / "entry_points.txt").write_text(f"[unidl.models]\n{lines}")
    source = Path(__file__).parents[1] / "third_party" / "unidl_third_party_model.py"
    (folder / source.name).write_text(source.read_text())
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    return install(tmp_path, perceptron="unidl_third_party_model:PERCEPTRON")


def unidl(*words: object, **environment: str):
    return processes.run(sys.executable, "-m", "unidl", *map(str, words), **environment)


def error_of(name: str, **environment: str) -> str:
    code = (
        "from unidl.models import builders\nfrom unidl.errors import ModelError\n"
        f"try:\n    builders.builder({name!r})\nexcept ModelError as error:\n    print(error)"
    )
    return processes.python(code, **environment)


@pytest.mark.once
def test_a_plugins_model_is_trained_saved_loaded_and_evaluated_by_name(plugin, tmp_path):
    out = tmp_path / "run"
    trained = unidl("train", "perceptron", "--data", arrays_file(), "--out", out, "--json", **plugin)
    assert trained.returncode == 0, trained.stderr
    code = (
        f"import unidl; from unidl.models import record_of; model = unidl.load_model({str(out)!r})\n"
        "print(record_of(model).architecture.builder, record_of(model).architecture.arguments['input_shape'])"
    )
    assert processes.python(code, **plugin) == "perceptron [18, 18, 1]"
    evaluated = unidl("evaluate", out, "--json", **plugin)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["accuracy"] >= 0


@pytest.mark.once
def test_a_run_whose_plugin_is_gone_says_which_builder_it_needs(plugin, tmp_path):
    out = tmp_path / "run"
    code = (
        f"import unidl_third_party_model as plugin, unidl; unidl.Trainer(plugin.build_perceptron()).save({str(out)!r})"
    )
    processes.python(code, **plugin)
    answer = unidl("evaluate", out, "--data", arrays_file())
    assert answer.returncode == 8
    assert "unknown builder 'perceptron'" in answer.stderr
    assert "may not be installed" in answer.stderr


@pytest.mark.once
def test_a_plugins_model_can_be_a_base(plugin):
    code = (
        "import unidl, unidl_third_party_model as plugin\n"
        "model = unidl.build_transfer(plugin.build_perceptron(units=5), classes=2)\n"
        "print(model.output_shape, [layer.output.shape for layer in model.layers][1])"
    )
    assert processes.python(code, **plugin) == "(None, 2) (None, 64)"


@pytest.mark.agree
def test_a_plugins_model_is_verified_by_name(plugin):
    answer = unidl("verify", "perceptron", "--backends", UNDER_TEST, "--steps", 2, "--json", **plugin)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.once
def test_help_names_it_and_an_option_that_it_lacks_is_refused(plugin):
    for command in ("train", "verify", "compare"):
        assert "perceptron" in unidl(command, "--help", **plugin).stdout
    answer = unidl("train", "perceptron", "--data", arrays_file(), "--dropout", "0.5", **plugin)
    assert answer.returncode == 2
    assert "Cannot use --dropout with `unidl train perceptron`" in answer.stderr
    assert "needs --data" in unidl("train", "perceptron", **plugin).stderr
    compared = unidl("compare", "--models", "perceptron", **plugin)
    assert compared.returncode == 2
    assert "its builder has no workload" in compared.stderr


def test_listing_builders_imports_no_plugin(plugin):
    code = (
        "import sys; from unidl.models.builders import names; "
        "print(names()[-1], 'unidl_third_party_model' in sys.modules)"
    )
    assert processes.python(code, **plugin) == "perceptron False"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("unidl_third_party_model:NOTHING", "cannot be loaded (distribution unidl-third-party-model): AttributeError"),
        ("nowhere_at_all:MODEL", "cannot be loaded (distribution unidl-third-party-model): ModuleNotFoundError"),
        ("unidl_third_party_model:NOT_A_BUILDER", "must be a unidl.models.builder.Builder, but is a function"),
    ],
)
def test_a_broken_plugin_is_named_with_what_is_wrong_and_leaves_the_others_alone(value, what, tmp_path):
    environment = install(tmp_path, broken=value)
    said = error_of("broken", **environment)
    assert "Cannot use the plugin 'broken' of the group unidl.models" in said
    assert "distribution unidl-third-party-model" in said
    assert what in said
    assert error_of("cnn", **environment) == ""


def test_a_plugin_by_another_name_than_its_builder_is_refused(tmp_path):
    """A record keeps the builder's name, and what it names could not be found again."""
    said = error_of("other", **install(tmp_path, other="unidl_third_party_model:PERCEPTRON"))
    assert "defines a builder named 'perceptron'. The names must be equal." in said


def test_no_plugin_replaces_a_builder_of_ours_and_it_is_told(tmp_path):
    environment = install(tmp_path, cnn="unidl_third_party_model:PERCEPTRON")
    code = (
        "import logging; logging.basicConfig(level='INFO')\nfrom unidl.models import builders\n"
        "print(builders.builder('cnn').function, builders.names().count('cnn'))"
    )
    done = processes.run(sys.executable, "-c", code, **environment)
    assert done.stdout.strip() == "build_cnn 1"
    assert done.stderr.count("the plugin 'cnn' of the group unidl.models is ignored") == 1
