"""Models that predict more than one class a row, from the command line: several labels, and several heads."""

import json

import numpy as np
import pytest
from command_line import unidl
from PIL import Image

from unidl import Trainer, build_cnn, build_transfer, load_data, load_model
from unidl.models import record_of

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


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A table of images with a mark, a word, and a number for each."""
    folder = tmp_path_factory.mktemp("several")
    drawn, lines = np.random.default_rng(0), ["file,mark,shade,amount,lower"]
    for row in range(32):
        pixels = drawn.integers(0, 40, (8, 8, 3)) + 200 * (row % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{row % 2},{('dark', 'light')[row % 2]},{row % 2 - 0.5},{row // 2 % 2}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def test_columns_of_a_table_are_learned_by_a_head_each(small_base, several, tmp_path):
    """With the names of the classes, which a person who predicts with the run reads."""
    run, columns = tmp_path / "run", ("--target", "shade, amount, mark")
    given = ("--base", small_base, "--epochs", 20, "--learning-rate", 0.01, "--batch-size", 8, "--precompute-frozen")
    answer = unidl("train", "transfer", "--data", several, *columns, *given, "--early-stopping", 20, "--out", run)
    assert answer.code == 0, answer.err
    assert "predicted by a head of its own: shade (2 classes), amount (a number), mark (2 classes)" in answer.err
    assert record_of(load_model(run)).head_names == {"shade": ("dark", "light"), "amount": (), "mark": ("0", "1")}
    for other in ((), ("--data", several)):
        found = json.loads(unidl("evaluate", run, *other, "--json").out)
        assert found["shade_accuracy"] == found["mark_accuracy"] == 1.0
        assert found["amount_mean_absolute_error"] < 0.25
    told = json.loads(unidl("predict", run, several.parent / "1.png", "--json").out)[0]["heads"]
    assert (told["shade"]["classes"][0]["name"], told["mark"]["classes"][0]["name"]) == ("light", "1")
    assert told["amount"]["value"] == pytest.approx(0.5, abs=0.25)


OWN = """
import keras

def build(input_shape):
    image = keras.Input(input_shape)
    values = keras.layers.Dense(4)(keras.layers.Flatten()(image))
    outputs = {
        "mark": keras.layers.Dense(1, activation="sigmoid", name="mark")(values),
        "lower": keras.layers.Dense(2, activation="softmax", name="lower")(values),
    }
    model = keras.Model(image, outputs)
    model.compile(
        "adam",
        loss={"mark": "binary_crossentropy", "lower": "sparse_categorical_crossentropy"},
        metrics={"lower": ["accuracy"]},
    )
    return model
"""


def test_a_model_of_ones_own_learns_columns_of_the_names_of_its_outputs(several, tmp_path):
    """Columns of 0 and 1 are an array each where the model has an output for each."""
    (tmp_path / "model.py").write_text(OWN)
    run = tmp_path / "run"
    given = ("--data", several, "--target", "lower,mark", "--epochs", 1, "--batch-size", 8, "--quiet", "--out", run)
    answer = unidl("train", f"{tmp_path / 'model.py'}:build", *given)
    assert answer.code == 0, answer.err
    told = json.loads(unidl("predict", run, several.parent / "0.png", "--trust", "--json").out)[0]["heads"]
    assert sorted(told) == ["lower", "mark"]
    assert 0 <= told["mark"]["value"] <= 1
    found = json.loads(unidl("evaluate", run, "--trust", "--json").out)
    assert "lower_accuracy" in found
    other = tmp_path / "other.py"
    other.write_text(OWN.split("    model.compile")[0] + "    return model\n")
    answer = unidl("train", f"{other}:build", *given[:2], "--target", "mark,shade", "--out", tmp_path / "no")
    assert answer.code == 7, answer.err
    assert "has several things to predict, mark, shade: call model.compile" in answer.err


def test_what_cannot_have_heads_says_so_in_the_words_of_the_command_line(several, tmp_path):
    columns = ("--data", several, "--target", "mark,shade", "--out", tmp_path / "run")
    answer = unidl("train", "cnn", *columns)
    assert (answer.code, "predicts one thing for each row" in answer.err) == (6, True)
    answer = unidl("train", "transfer", *columns, "--on-error", "skip")
    assert (answer.code, "Cannot use --on-error skip where numbers or several" in answer.err) == (2, True), answer.err
    table = tmp_path / "numbers.csv"
    table.write_text("a,b,c\n1,2,3\n4,5,6\n")
    answer = unidl("train", "tabular", "--data", table, "--target", "b,c", "--out", tmp_path / "run")
    assert "only of images can several columns be predicted. Pass one column as --target." in answer.err
    answer = unidl("train", "tabular", "--data", table, "--out", tmp_path / "run")
    assert "to be predicted? Pass --target; no column" in answer.err
    with pytest.raises(Exception, match="Pass target=; no column"):
        load_data(table)
