"""The examples run as they stand. Without this the first thing that a person copies fails."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest
from command_line import text_file
from processes import run

from unidl import load_model

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_cnn_example_trains_saves_and_guesses(tmp_path):
    done = run(sys.executable, str(EXAMPLES / "cnn.py"), "1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    labels, guesses = re.findall(r"^(?:labels |guesses)((?: \d)+)$", done.stdout, flags=re.MULTILINE)
    assert len(labels.split()) == len(guesses.split()) == 8
    assert load_model(tmp_path / "runs/cnn").name == "cnn"


def shown(name: str, *words: str, capfd, monkeypatch) -> str:
    """What an example prints in this process, where it must not write anything to stderr."""
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    written, complaints = capfd.readouterr()
    assert complaints == ""  # nor does a framework complain of what our kernels do
    return written


def test_the_lstm_example_trains_on_a_text_and_writes(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = shown("lstm", "1", str(text_file()), capfd=capfd, monkeypatch=monkeypatch)
    assert re.search(r"^perplexity on text it has not seen: \d+\.\d$", written, flags=re.MULTILINE)
    assert "the value of" in written.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "words", "rows"),
    [
        pytest.param("fine_tuning", "1 1 2", ["from scratch", "frozen base", "in stages"], marks=pytest.mark.slow),
        pytest.param("textures", "1 1 2", ["from scratch", "frozen base", "in stages"], marks=pytest.mark.slow),
        pytest.param(
            "negatives",
            "1 2 2",
            ["new head", *(f"all, at {rate}" for rate in ("1e-3", "3e-3", "1e-2")), "in stages"],
            marks=pytest.mark.slow,
        ),
        pytest.param("sensors", "1 400", ["stays as it is", "linear regression", "LSTM"] * 2, marks=pytest.mark.slow),
        ("motion", "1 64", ["frames in their order", "frames in random order"]),
        ("sentences", "1 100", ["logistic regression", "text classifier", "causal transformer"]),
    ],
)
def test_a_demonstration_prints_its_table(name, words, rows, capfd, monkeypatch):
    """In its short form, in this process, with nothing beside the table: a number for each row."""
    written = shown(name, *words.split(), capfd=capfd, monkeypatch=monkeypatch)
    found = re.findall(r"^ *(\S.*?) {2,}(?:accuracy +)?\d+\.\d", written, flags=re.MULTILINE)
    assert found == rows, written


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_names_no_framework(path: Path):
    """It is the same script on every backend, and a person reads it in one sitting."""
    source = path.read_text()
    assert source.count("\n") < 120
    imported = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not imported & {"jax", "torch", "tensorflow"}
    assert "unidl" in imported
