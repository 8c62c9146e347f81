"""`unidl report`. Without this a page is empty where a person sends it, or shows other numbers than the files."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import median

import pytest
from command_line import unidl

from unidl.agreement import output
from unidl.agreement.certificate import Certificate, Check, Trial
from unidl.agreement.reading import certificates_in
from unidl.agreement.verdicts import Difference, Layer
from unidl.compare import results
from unidl.deploy.certificate import ExportCertificate
from unidl.deploy.judging import Comparison
from unidl.machine.environment import environment
from unidl.report.contact_sheet import contact_sheet
from unidl.training import Trainer
from unidl.training.run_directory import save_run

MEASURED = Path(__file__).parents[2] / "benchmarks/cpu-2-cores-resnet.json"
FIGURES = {
    "rows": 3,
    "accuracy": 2 / 3,
    "classes": [{"name": "cat<b>"}, {"name": "dog"}],
    "confusion": [[1, 1], [0, 1]],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, backend) -> list[Path]:
    """Two runs that differ in a setting, one of them with figures of its test rows."""
    import numpy as np

    from unidl import build_cnn

    folder = tmp_path_factory.mktemp("runs")
    trainer = Trainer(build_cnn((8, 8, 1), classes=2, filters=(2,), dense_units=2))
    sheet = contact_sheet(np.zeros((1, 8, 8, 1)), [["cat > dog"]], (0, 1))
    extra = {"report.json": json.dumps(FIGURES).encode(), "mistakes.png": sheet}
    found: list[Path] = []
    for name, rate, losses in (("worse", 0.1, [0.9, 0.8]), ("better", 0.2, [0.7, 0.25])):
        trainer.history = {"loss": [1.0, 0.5], "val_loss": losses, "learning_rate": [0.1]}
        asked = {"model": "cnn", "learning_rate_asked": rate}
        added = extra if name == "better" else None
        found.append(save_run(trainer, folder / name, configuration=asked, extra=added))
    return found


def certificate() -> Certificate:
    """One of a layer that is wrong on one backend, where a value is also NaN."""
    good = Difference("output", "dense", 1e-8, 1e-6, 1e-6)
    bad = Difference("gradient", "dense/kernel", math.inf, 1e-6, 1e-6)
    layers = (Layer("dense", "Dense", {"units": 2}),)
    trials = (
        Trial("jax", "cpu", "float32", "unidl", (good,)),
        Trial("torch", "cpu", "float32", "unidl", (good, bad)),
        Trial("tensorflow", "cpu", "float32", "unidl", failure="it cannot"),
    )
    about = ("mine", "2026-01-01", "0.1.0", json.loads(json.dumps(environment({}))), "mine", 6, "mse", 4, 5, 0, "jax")
    return Certificate(*about, layers, ("dropout",), (Check("torch", (good,)),), trials)


def export_certificate() -> ExportCertificate:
    comparisons = (Comparison("predictions", 3, None, 3, 1e-8, 1e-6, math.inf, 1.0, 0),)
    versions = {"onnx": "1.0"}
    return ExportCertificate(
        "runs/cnn",
        "onnx",
        "float32",
        "2026-01-01",
        "0.1.0",
        {},
        "jax",
        "test",
        versions,
        versions,
        (),
        {"m": 9},
        comparisons,
    )


def made(out: Path, *paths: object) -> str:
    answer = unidl("report", *paths, "--out", out)
    assert (answer.code, answer.err) == (0, ""), answer.err
    return out.read_text(encoding="utf-8")


def rows_of(page: str) -> list[list[str]]:
    """The cells of the tables of a page, row by row."""
    found = re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]


def test_runs_stand_side_by_side_with_the_best_first(runs, tmp_path):
    page = made(tmp_path / "report.html", *runs)
    rows: dict[str, list[str]] = {}
    for row in rows_of(page):
        rows.setdefault(row[0], row[1:])
    assert [Path(name).name for name in rows[""][:2]] == ["better", "worse"]
    assert rows["learning rate asked"] == ["0.2", "0.1"]
    assert rows["val loss"] == ["0.25", "0.8"]
    assert "model" not in rows, "a setting that is equal tells nothing"
    assert page.count("<img") == 2, "the curves of both, and the mistakes of one"
    assert "cat&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_page_needs_nothing_else(runs, tmp_path):
    """Neither a network nor a script nor a file beside it."""
    page = made(tmp_path / "report.html", runs[0], MEASURED)
    assert re.findall(r"<(?:script|link|iframe)\b", page) == []
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert "url(" not in page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_comparison_shows_its_numbers(tmp_path):
    page = made(tmp_path / "report.html", MEASURED)
    measured = [one for run in results.read(MEASURED) for one in run.measurements if one.rounds and not one.cell.twin]
    for one in measured:
        rows = [row for row in rows_of(page) if row[:2] == [one.cell.backend, one.cell.implementation]]
        assert any(row[2].startswith(f"{median(one.rates):,.0f} (") for row in rows), one.cell


def test_a_certificate_is_read_as_it_was_written(tmp_path):
    one = certificate()
    output.write(tmp_path, [one])
    assert certificates_in(json.loads((tmp_path / output.JSON).read_text())) == (one,)
    page = made(tmp_path / "report.html", tmp_path / output.JSON)
    assert "mine: 2 of 3 do not agree" in page
    assert "first wrong at dense (Dense)" in page
    assert "failed: it cannot" in page
    assert ["dense", "Dense", "0.01", "inf", "", "disagrees"] in rows_of(page)


def test_the_certificate_of_an_export_is_shown(tmp_path):
    (tmp_path / "certificate.json").write_bytes(export_certificate().content())
    page = made(tmp_path / "report.html", tmp_path / "certificate.json")
    assert "runs/cnn as onnx" in page
    assert ["predictions", "3", "", "3", "1e-08", "1e-06", "inf", "100.0%", "agrees"] in rows_of(page)


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", '{"schema": 1, "format": "other"}', '[{"format": 9}]'])
def test_another_file_is_refused(content, tmp_path):
    """With what a report takes."""
    (tmp_path / "other.json").write_text(content)
    answer = unidl("report", tmp_path / "other.json", "--out", tmp_path / "report.html")
    assert answer.code == 2
    assert "other.json" in answer.err
    assert not (tmp_path / "report.html").exists()


def test_a_path_that_is_not_there_is_refused(tmp_path):
    answer = unidl("report", tmp_path / "no-such", "--out", tmp_path / "report.html")
    assert answer.code == 2
    assert "no-such" in answer.err
