"""`unidl compare` as a person runs it, once with real workers on the backend under test."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Answer, unidl
from comparisons import run_of
from PIL import Image

from unidl import fastest, registry
from unidl.cli import compare as command
from unidl.compare import workloads
from unidl.compare.results import read, write
from unidl.compare.summary import summarize
from unidl.precision import NAMES

UNDER_TEST = os.environ["UNIDL_BACKEND"]
SMALL = ("--backends", UNDER_TEST, "--device", "cpu", "--seconds", "0.05", "--rows", "64", "--batch-size", "8")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Path]:
    """One comparison, and the folder that it left."""
    out = tmp_path_factory.mktemp("compare") / "new"
    return unidl("compare", "--models", "cnn", "--against", "keras", "--rounds", 2, *SMALL, "--out", out), out


def test_it_measures_and_reports(compared):
    answer, out = compared
    assert answer.code == 0, answer.err
    assert "cnn, batch 8, float32, cpu" in answer.out
    assert "failed" not in answer.out
    assert "A/A: measuring the first cell twice gives" in answer.out
    assert sorted(path.name for path in out.iterdir()) == ["chart.png", "report.md", "results.json"]
    with Image.open(out / "chart.png") as picture:
        assert picture.width > 500
    assert "## cnn, batch 8, float32, cpu" in (out / "report.md").read_text()


def test_each_cell_has_everything(compared):
    [run] = read(compared[1] / "results.json")
    ours, twin, keras = run.measurements
    assert [one.cell.title for one in run.measurements] == [
        f"{UNDER_TEST} unidl",
        f"{UNDER_TEST} unidl (twin)",
        f"{UNDER_TEST} keras",
    ]
    for one in (ours, twin, keras):
        assert len(one.rounds) == 2
        assert all(each.rows == one.rows * one.epochs for each in one.rounds)
        assert one.rows == 64
        assert one.flops_per_sample == 16_765_440
        assert 0 < one.first_step_seconds <= one.ready_seconds
    for one in (ours, keras):
        assert 0 < one.latency_p50_seconds <= one.latency_p99_seconds
        assert one.inference_samples_per_second > 0
    assert ours.peak_flops_per_second > 0
    assert run.environment["frameworks"][UNDER_TEST]


def test_keras_and_our_loop_compute_the_same(compared):
    """The losses of the first steps from the same weights on the same rows; this is what allows a ratio."""
    [run] = read(compared[1] / "results.json")
    [summary] = summarize(run)
    assert [row.why_not_compared for row in summary.rows] == [None, None]
    assert len(set(run.measurements[0].losses)) == 5
    assert "keras" in summary.rows[0].ratios


def test_drawing_again_says_the_same_without_measuring(compared):
    answer, out = compared
    again = unidl("compare", "--from", out / "results.json")
    assert (again.code, again.out, again.err) == (0, answer.out, "")


def test_several_files_become_one_report(tmp_path: Path):
    for name, rate in (("a.json", 1000.0), ("b.json", 3000.0)):
        write(tmp_path / name, [run_of({"jax unidl": rate, "jax keras": 500.0})])
    files = (tmp_path / "a.json", tmp_path / "b.json")
    answer = unidl("compare", "--from", *files, "--out", tmp_path / "both", "--json")
    assert answer.code == 0
    assert len(json.loads(answer.out)["runs"]) == 2
    assert len(read(tmp_path / "both" / "results.json")) == 2


def test_without_matplotlib_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a.json", [run_of({"jax unidl": 1000.0})])
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest)
    )
    answer = unidl("compare", "--from", tmp_path / "a.json", "--out", tmp_path)
    assert answer.code == 0
    assert "pip install 'unidl[plot]'" in answer.err
    assert not (tmp_path / "chart.png").exists()
    assert "chart.png" not in (tmp_path / "report.md").read_text()


@pytest.mark.once
def test_a_cell_that_cannot_be_is_a_row_and_the_exit_code_tells():
    """TF32 needs a GPU."""
    words = ("--models", "cnn", "--precision", "tf32", "--against", "none", "--rounds", 1, "--quiet")
    answer = unidl("compare", *words, *SMALL)
    assert answer.code == 1
    assert answer.err == ""
    assert "TF32 exists only in the Tensor Cores" in answer.out


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("--models", "cnnn"), workloads.names()),
        (("--backends", "pytorch"), ["jax", "torch", "tensorflow"]),
        (("--precision", "float64"), NAMES),
        (("--against", "numpy"), ["native", "keras"]),
        (("--batch-size", "128,-1"), ["at least 1"]),
        (("--rounds", "0"), ["at least 1"]),
        (("--models", "cnn,,lstm"), ["comma-separated names"]),
        (("--choose", "--out", "x"), ["--choose"]),
        (("--choose", "--batch-size", "1,2"), ["--choose"]),
    ],
)
def test_a_usage_error_names_what_is_allowed(words, allowed):
    answer = unidl("compare", *words)
    assert answer.code == 2
    for name in allowed:
        assert name in answer.err
    assert answer.out == ""


def test_an_unknown_device_names_the_allowed_ones():
    assert "'auto', 'cpu', 'gpu'" in unidl("compare", "--device", "tpu").err


def test_a_folder_that_cannot_be_written_is_told_before_measuring(tmp_path: Path):
    (tmp_path / "file").write_text("")
    answer = unidl("compare", *SMALL, "--out", tmp_path / "file" / "below")
    assert answer.code == 2
    assert "--out=" in answer.err


def test_the_help_names_every_model_and_precision():
    text = " ".join(unidl("compare", "--help").out.split())
    for name in [*workloads.names(), *NAMES, ",".join(workloads.DEFAULT)]:
        assert name in text


@pytest.mark.once
def test_choose_keeps_what_auto_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    answer = unidl("compare", "--choose", "--models", "cnn", *SMALL)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"UNIDL_BACKEND=auto selects {UNDER_TEST}: the only one that could be measured on cnn")
    monkeypatch.setenv("UNIDL_DEVICE", "cpu")
    assert fastest.chosen("cnn", registry.versions(list(registry.adapters()))).backend == UNDER_TEST


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT")
def test_ctrl_c_reports_and_leaves_no_process(tmp_path: Path):
    out = tmp_path / "out"
    words = ("compare", "--models", "cnn", "--against", "none", "--rounds", "100000", *SMALL, "--out", str(out))
    with (tmp_path / "log").open("w+") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "unidl", *words], stdout=subprocess.PIPE, stderr=log, text=True
        )
        # Once somewhere a second round has begun, the first cell has had its first.
        while not re.search(r"round (?!1 )", (tmp_path / "log").read_text()) and running.poll() is None:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate()
    assert running.returncode == command.INTERRUPTED
    assert "Interrupted" in said
    [run] = read(out / "results.json")
    assert run.interrupted
    assert run.measurements[0].rounds
