"""Every command of the README and every line of its Python is run, or held to what runs it."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from pages import blocks_of, commands_in, output_of, shortened_command, shortened_python, with_short_text

from unidl.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FIRST = "pip install '.[jax]' && unidl train cnn"
SECOND = "pip install tox && tox"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [block.body for block in blocks_of(README) if block.language == language]


def commands() -> list[str]:
    """Every line of every sh block."""
    return [line for block in blocks("sh") for line in commands_in(block)]


def test_the_first_commands_are_these():
    """Tox runs the first in a fresh environment, and the continuous integration runs the second."""
    assert commands()[:2] == [FIRST, SECOND]
    assert "pip install --quiet tox && tox" in (ROOT / ".ci/run").read_text()
    assert "FIRST" in (ROOT / "tests/check_distribution.py").read_text()


def test_every_extra_exists():
    """A person who pastes an extra that is not there gets no framework and only a warning."""
    extras = set(re.findall(r"pip install '\.\[([\w-]+)\]'", README))
    assert len(extras) >= 5
    assert extras <= set(metadata.metadata("unidl").get_all("Provides-Extra"))


@pytest.mark.agree
def test_every_other_command_runs_in_order(tmp_path, monkeypatch):
    """In one folder, one after the other, as a reader pastes them; for one epoch, on a short text, and on one backend
    and in one short round where all of them would be verified or measured, as other tests do."""
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples/seven.png", tmp_path / "examples")
    with_short_text(tmp_path)
    monkeypatch.chdir(tmp_path)
    ran = commands()[2:]
    assert len(ran) >= 7
    for command in ran:
        words = shlex.split(command)
        assert words[0] == "unidl", command
        assert output_of(shortened_command(words[1:])).strip(), command


@pytest.mark.agree
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """The blocks share a folder, as one takes the run that the first saved."""
    monkeypatch.chdir(tmp_path)
    assert len(blocks("python")) == 4
    for block in blocks("python"):
        exec(compile("from unidl.data.dataset import take\n" + shortened_python(block), "README.md", "exec"), {})
    assert (tmp_path / "runs/cnn/weights.safetensors").exists()


def test_every_link_leads_somewhere():
    for page in (README, (ROOT / "backends/README.md").read_text()):
        folder = ROOT if page is README else ROOT / "backends"
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert target.startswith("https://") or (folder / target).exists(), target


def test_every_exit_code_is_told():
    """Scripts depend on them."""
    from unidl import errors

    told = re.search(r"Exit codes tell errors apart: (.*?)\.\n", README, flags=re.DOTALL)[1]
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)} - {1}
    assert {int(code) for code in re.findall(r"\d+", told)} == codes | {130}


def test_the_measurement_that_it_quotes_can_be_drawn_again(capsys):
    """And the table says what the file holds."""
    assert "unidl compare --from benchmarks/cpu-2-cores.json" in README
    assert main(["compare", "--from", str(ROOT / "benchmarks/cpu-2-cores.json")]) == 0
    drawn = capsys.readouterr().out
    rows = re.findall(
        r"^\| (?:JAX|PyTorch|TensorFlow) \| ([\d ]+) \| .*? \| .*? \| ([\d ]+) \|", README, flags=re.MULTILINE
    )
    assert len(rows) == 3
    for figure in (figure.replace(" ", ",") for row in rows for figure in row):
        assert figure in drawn, figure
