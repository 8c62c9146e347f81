"""What a run is, as a value and as a file. Without this a typing mistake in a file changes what is trained."""

from __future__ import annotations

import json
import tomllib
from dataclasses import FrozenInstanceError

import pytest

from unidl.errors import SavedModelError, UsageError
from unidl.runs.configuration import RunConfiguration
from unidl.runs.files import KNOWN, read_options, to_toml

EARLIER = {
    "model": "transfer",
    "data": "/data/pictures.npz",
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 0.001,
    "schedule": "cosine",
    "clip_norm": None,
    "accumulate": None,
    "early_stopping": None,
    "dropout": 0.0,
    "image_size": None,
    "seed": 0,
    "plot": False,
    "save_every_steps": 5,
    "base": "VGG16",
    "weights": "imagenet",
    "precompute_frozen": False,
    "data_origin": {"sha256": "..."},
    "precision": "float32",
}
"""As a checkpoint of the version before this one has it."""


def test_the_recipe_of_the_model_fills_what_nobody_says():
    run = RunConfiguration.of(model="cnn", epochs=3, schedule=None)
    assert (run.data, run.epochs, run.batch_size, run.schedule) == ("digits", 3, 64, "cosine")
    assert run.precompute_frozen is run.base is None
    assert RunConfiguration.of(model="transfer").base == "VGG16"
    with pytest.raises(FrozenInstanceError):
        run.epochs = 4


def test_what_a_run_keeps_gives_it_back_whichever_version_wrote_it():
    assert RunConfiguration.from_json(EARLIER).to_json() == EARLIER
    assert list(RunConfiguration.from_json(EARLIER).to_json()) == list(EARLIER), "as the file was written"
    own = {name: value for name, value in EARLIER.items() if name not in ("base", "weights")}
    own |= {"model": "/model.py:build", "model_sha256": "0", "model_arguments": {}, "learning_rate": None}
    assert RunConfiguration.from_json(own).to_json() == own
    with pytest.raises(SavedModelError, match=r"contains 'tomorrow', which this version of unidl does not know"):
        RunConfiguration.from_json(EARLIER | {"tomorrow": 1})
    with pytest.raises(SavedModelError, match="lacks 'epochs'"):
        RunConfiguration.from_json({"model": "cnn", "data": "digits"})
    with pytest.raises(SavedModelError, match=r"damaged.*epochs = 'many'"):
        RunConfiguration.from_json(EARLIER | {"epochs": "many"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "No model given. Pass one of cnn, "),
        ({"model": "cnn", "epoch": 3}, "Unknown setting 'epoch'. Known: model, data, epochs"),
        ({"model": "cnn", "epochs": 0}, "Cannot use epochs = 0: it must be a whole number of at least 1."),
        ({"model": "cnn", "epochs": True}, "Cannot use epochs = True: it must be a whole number of at least 1."),
        ({"model": "cnn", "dropout": 1}, "Cannot use dropout = 1: it must be a number from 0 up to"),
        ({"model": "cnn", "learning_rate": float("nan")}, "Cannot use learning_rate = nan: it must be a number above"),
        (
            {"model": "cnn", "base": "VGG16"},
            "Cannot use --base with `unidl train cnn`: it applies only to `unidl train transf",
        ),
        ({"model": "lstm", "image_size": 20}, "Cannot use --image-size with `unidl train lstm`"),
        ({"model": "saved"}, "No data given. `unidl train saved` needs --data"),
        ({"model": "no.py:build"}, "the file no.py does not exist"),
    ],
)
def test_a_setting_that_cannot_be_says_what_can(given, said):
    with pytest.raises(UsageError) as caught:
        RunConfiguration.of(**given)
    assert said in str(caught.value)


FLAT = 'model = "cnn"\nepochs = 3\nlearning_rate = 0.5\nplot = true\nbackend = "jax"\n'


@pytest.mark.parametrize("text", [FLAT, f"[train]\n{FLAT}", f"[configuration]\n{FLAT}"])
def test_a_file_says_what_the_options_say(text, tmp_path):
    (tmp_path / "run.toml").write_text(text)
    found = read_options(tmp_path / "run.toml")
    assert found == {"model": "cnn", "epochs": 3, "learning_rate": 0.5, "plot": True, "backend": "jax"}


def test_the_file_of_a_run_says_what_it_was_asked_for(tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"saved": "2026", "versions": {}, "configuration": EARLIER}))
    found = read_options(file)
    assert RunConfiguration.of(**found).options() == {
        name: value for name, value in EARLIER.items() if value is not None and name != "data_origin"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "Unknown option 'epoch' in {file}. Did you mean 'epochs'? Known: model, data"),
        ("learning-rate = 3", "Did you mean 'learning_rate'?"),
        ("zebra = 3", "Unknown option 'zebra' in {file}. Known: model"),
        ('epochs = "3"', "Cannot use epochs = '3' in {file}: it must be a whole number of at least 1."),
        ("epochs = 3.0", "Cannot use epochs = 3.0 in {file}: it must be a whole number of at least 1."),
        ("plot = 1", "Cannot use plot = 1 in {file}: it must be true or false."),
        ('schedule = "linear"', 'Cannot use schedule = \'linear\' in {file}: it must be "constant" or "cosine".'),
        ('model = ""', "it must be a non-empty string"),
        ("seed = 1\n[train]\nepochs = 3", "Cannot use 'seed' in {file} outside the table [train]"),
        ("epochs 3", "Cannot read {file} as TOML: "),
        ("[resume]\nx = 1", "Unknown option 'resume'"),
    ],
)
def test_a_mistake_in_a_file_names_key_allowed_and_given(text, said, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_options(file)
    assert said.format(file=file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read .*no\.toml: No such file"):
        read_options(tmp_path / "no.toml")
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(UsageError, match=r"it must contain options by name, but contains \[1\]"):
        read_options(tmp_path / "run.json")


def test_a_run_is_written_as_a_file_that_asks_for_it_again(tmp_path):
    run = RunConfiguration.of(
        model="transfer", base='a "strange"\\name', learning_rate=1e-05, plot=True, clip_norm=2, seed=2**40
    )
    (tmp_path / "run.toml").write_text(to_toml(run))
    assert RunConfiguration.of(**read_options(tmp_path / "run.toml")) == run
    assert tomllib.loads(to_toml(run))["base"] == 'a "strange"\\name'


def test_every_option_of_the_command_can_stand_in_a_file():
    """Or somebody who adds an option has to remember another table."""
    from unidl.cli.main import build_parser

    words = vars(build_parser().parse_args(["train"]))
    about_the_command = {"command", "command_parser", "run", "debug", "prepare", "resume", "config"}
    assert set(words) - about_the_command == set(KNOWN)
    assert all(words[name] is None for name in KNOWN), "what the file says would never count"
