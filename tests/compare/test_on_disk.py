"""A comparison on data from a disk. Without the share of time that steps wait, a slow disk looks like a slow
backend."""

from __future__ import annotations

import io
import time
from dataclasses import asdict, replace

import pytest
from command_line import unidl
from comparisons import ENVIRONMENT, cell, measured
from image_folders import image_folder
from rich.console import Console

from unidl import registry
from unidl.compare.cells import cells
from unidl.compare.measurements import prepare
from unidl.compare.report import draw
from unidl.compare.results import Round, Run, from_json, to_json
from unidl.data.image_files import ImageFiles
from unidl.errors import UsageError

SLOW_SECONDS = 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images") / "shades", 20)


def command(folder, **changes):
    name = registry.current().name
    one = replace(cell(f"{name} unidl"), batch_size=4, data=str(folder), **changes)
    return {**asdict(one), "seconds": 0.01, "rows": 32}


def test_a_cell_reads_files_and_says_how_long_its_steps_waited(folder, monkeypatch):
    measurements, answer = prepare(command(folder))
    assert answer["rows"] == 32
    assert len(answer["losses"]) == 5
    fast = measurements.round(2)
    assert fast["rows"] == 64
    assert 0 <= fast["waiting_share"] <= 1
    decoded = ImageFiles.decoded

    def slowly(self, path):
        time.sleep(SLOW_SECONDS)
        return decoded(self, path)

    monkeypatch.setattr(ImageFiles, "decoded", slowly)
    assert measurements.round(1)["waiting_share"] > 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"model": "transfer"}, "a model that is built for its data"), ({"batch_size": 64}, "fewer than 8 batches of 64")],
)
def test_what_cannot_be_measured_says_why(folder, changes, message):
    with pytest.raises(UsageError, match=message):
        prepare(command(folder) | changes)


def test_only_our_loop_reads_from_a_disk(folder):
    options = {"device": "cpu", "precisions": ["float32"], "batch_sizes": [8], "against": ["keras"]}
    [(group, members)] = cells(models=["cnn"], backends=["jax", "torch"], data=str(folder), **options).items()
    assert group.title == "cnn on shades, batch 8, float32, cpu"
    assert [one.title for one in members] == ["jax unidl", "jax unidl (twin)", "torch unidl"]
    assert {one.data for one in members} == {str(folder)}


def test_the_report_has_a_column_for_it():
    rounds = tuple(Round(100, 1.0, None, 0.25) for _ in range(5))
    one = replace(measured(cell("jax unidl", data="/photographs"), [100.0] * 5), rounds=rounds)
    run = Run("2026-01-01T00:00:00", "0", 5, 1.0, ENVIRONMENT, (one,))
    assert from_json(to_json([run])) == (run,)
    stream = io.StringIO()
    draw([run], Console(file=stream, width=140, markup=False, highlight=False, emoji=False))
    assert "cnn on photographs" in stream.getvalue()
    assert "waits for data" in stream.getvalue()
    assert "25%" in stream.getvalue()


@pytest.mark.parametrize("words", [("--choose", "--data", "x"), ("--image-size", "8")])
def test_options_that_mean_nothing_are_refused(words):
    answer = unidl("compare", *words)
    assert (answer.code, answer.out) == (2, "")
    assert "Leave it out" in answer.err
