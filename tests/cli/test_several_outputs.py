"""Models that predict more than one class a row, from the command line: several labels, and several heads."""

import json

import numpy as np
import pytest
from command_line import unidl
from PIL import Image

from unidl import Trainer, build_cnn, build_transfer

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(scope="module")
def small_base(tmp_path_factory):
    return Trainer(build_cnn((8, 8, 3), 2, filters=(16,), kernel_size=2, dense_units=4)).save(
        tmp_path_factory.mktemp("base") / "base"
    )


def images(folder, rows=60):
    """Images of which the upper half, the lower half, both or neither are bright, and a table of them."""
    drawn, lines = np.random.default_rng(0), ["file,upper,lower,both"]
    for row in range(rows):
        upper, lower = row % 2, row // 2 % 2
        pixels = drawn.integers(0, 40, (8, 8, 3))
        pixels[:4] += 200 * upper
        pixels[4:] += 200 * lower
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{upper},{lower},{';'.join(['upper'] * upper + ['lower'] * lower)}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def test_several_labels_are_learned_and_told(small_base, tmp_path):
    table, run = images(tmp_path), tmp_path / "run"
    options = ("--epochs", 30, "--batch-size", 16, "--learning-rate", 0.01, "--quiet", "--precompute-frozen")
    given = ("--data", table, "--target", "both", *options)
    answer = unidl("train", "transfer", "--base", small_base, *given, "--out", run)
    assert answer.code == 0, answer.err
    answer = unidl("evaluate", run, "--json")
    assert json.loads(answer.out)["binary_accuracy"] == 1.0
    files = [tmp_path / f"{row}.png" for row in range(4)]
    told = json.loads(unidl("predict", run, *files, "--json").out)
    likely = [{one["name"] for one in row["labels"] if one["probability"] >= 0.5} for row in told]
    assert likely == [set(), {"upper"}, {"lower"}, {"upper", "lower"}]
    lines = unidl("predict", run, *files).out.splitlines()
    assert "no label (at most " in lines[0]
    assert "upper" in lines[3]
    assert "lower" in lines[3]
    answer = unidl("evaluate", run, "--report", tmp_path / "report")
    assert (answer.code, "a report needs one class for each row" in answer.err) == (6, True)
    answer = unidl("train", "cnn", "--data", table, "--target", "upper,lower", "--out", tmp_path / "cnn")
    assert (answer.code, "have several labels. Use `unidl train transfer`" in answer.err) == (6, True)


def test_each_head_is_told(small_base, tmp_path):
    images(tmp_path, rows=2)
    run = Trainer(build_transfer(small_base, heads={"colour": 3, "size": 1}, dense_units=None)).save(tmp_path / "run")
    answer = unidl("predict", run, tmp_path / "0.png", tmp_path / "1.png", "--top", 2, "--json")
    assert answer.code == 0, answer.err
    for row in json.loads(answer.out):
        assert sorted(row["heads"]) == ["colour", "size"]
        first, second = row["heads"]["colour"]["classes"]
        assert first["probability"] >= second["probability"]
        assert isinstance(row["heads"]["size"]["value"], float)
    answer = unidl("predict", run, tmp_path / "0.png")
    assert "colour: " in answer.out
    assert "size: " in answer.out
