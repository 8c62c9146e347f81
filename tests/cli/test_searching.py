"""`unidl find-learning-rate` and `unidl find-batch-size` as a person meets them."""

from __future__ import annotations

import json

import pytest
from command_line import arrays_file, unidl

from unidl.runs import batch_sizes
from unidl.runs.batch_sizes import Tried


def test_a_learning_rate_is_suggested_and_drawn(backend, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "rates.png"
    words = ["cnn", "--data", arrays_file(), "--batch-size", "20", "--steps", "40", "--plot", picture, "--json"]
    answer = unidl("find-learning-rate", *words)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert len(found["rates"]) == len(found["losses"]) <= 40
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_sizes_that_were_tried_are_told(monkeypatch):
    asked = []

    def in_a_process(configuration, where, *, trust, most_bytes):
        asked.append((configuration.model, where["backend"], most_bytes))
        return lambda size: Tried(size, 100.0, 2**20) if size < 32 else Tried(size, failure="out of memory: Killed")

    monkeypatch.setattr(batch_sizes, "in_a_process", in_a_process)
    answer = unidl("find-batch-size", "cnn", "--data", arrays_file(), "--most-memory", "100")
    assert answer.code == 0, answer.err
    assert answer.out == "largest that fits: 16; fastest: 8\n"
    assert "batches of 16: 100 rows/s, 1 MiB" in answer.err
    assert "batches of 32: out of memory: Killed" in answer.err
    assert asked[0][0] == "cnn"
    assert asked[0][2] == 100 * 2**20
    found = json.loads(unidl("find-batch-size", "cnn", "--data", arrays_file(), "--largest", "8", "--json").out)
    assert (found["largest"], [one["batch_size"] for one in found["tried"]]) == (8, [8])


def test_a_rate_is_searched_on_a_table_as_it_is_trained_on(backend, tmp_path):
    lines = [f"{row % 7},{row % 5},{row}" for row in range(40)]
    (tmp_path / "houses.csv").write_text("\n".join(["rooms,zip,price", *lines]))
    words = ("--data", tmp_path / "houses.csv", "--target", "price", "--categories", "zip", "--steps", 10, "--json")
    answer = unidl("find-learning-rate", "tabular", *words)
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["rates"]) == 10


@pytest.mark.parametrize("command", ["find-learning-rate", "find-batch-size"])
def test_an_option_that_means_nothing_is_refused(command):
    answer = unidl(command, "cnn", "--base", "VGG16")
    assert answer.code == 2
    assert "Cannot use --base" in answer.err
