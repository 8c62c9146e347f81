"""A classifier of the texts in a table, from the command line: trained, evaluated on another table, asked."""

import json

import pytest
from command_line import unidl

pytestmark = pytest.mark.usefixtures("backend")


def reviews(path, rows):
    words = ("fine", "poor")
    lines = [f'"this is a {words[row % 2]} one, truly",{("good", "bad")[row % 2]},{row}' for row in range(rows)]
    path.write_text("\n".join(["said,mood,number", *lines]) + "\n")
    return path


def test_texts_of_a_table_are_learned_and_classified(tmp_path):
    table, run = reviews(tmp_path / "reviews.csv", 40), tmp_path / "run"
    options = ("--target", "mood", "--epochs", 12, "--batch-size", 16, "--learning-rate", 0.01, "--quiet")
    answer = unidl("train", "text-classifier", "--data", table, *options, "--out", run)
    assert (answer.code, "Name its column of texts: --text COLUMN" in answer.err) == (6, True)
    answer = unidl("train", "text-classifier", "--data", table, "--text", "said", *options, "--out", run)
    assert answer.code == 0, answer.err
    for other in ((), ("--data", reviews(tmp_path / "new.csv", 10))):
        answer = unidl("evaluate", run, *other, "--json")
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)
        assert found["accuracy"] == 1.0
        assert found["rows"] == (2 if other else 8)
    answer = unidl("predict", run, "this one is fine", "a poor one", "--json")
    assert [row["classes"][0]["name"] for row in json.loads(answer.out)] == ["good", "bad"]
