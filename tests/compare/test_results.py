"""The file that a comparison leaves. Without this hours of measuring cannot be read again, or are half there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comparisons import cell, measured, run_of

from unidl.compare.cells import Group, cells
from unidl.compare.results import Measurement, read, to_json, write, write_bytes
from unidl.errors import UnidlError, UsageError
from unidl.machine.environment import environment, machine


def test_what_is_written_is_read():
    failed = Measurement(cell("torch native"), failure="out of memory: [it] said")
    run = run_of({"jax unidl": 1000.0, "jax keras": 900.0}, failed)
    again = json.loads(json.dumps(to_json([run, run])))
    from unidl.compare.results import from_json

    assert from_json(again) == (run, run)


def test_a_file_is_read_again(tmp_path: Path):
    run = run_of({"jax unidl": 1000.0})
    write(tmp_path / "new" / "results.json", [run])
    assert read(tmp_path / "new" / "results.json") == (run,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Expecting value"),
        ("[]", "is not a results.json"),
        ('{"runs": []}', "'format' is missing"),
        ('{"format": "unidl comparison", "schema": 99, "runs": []}', "schema 99"),
        ('{"format": "unidl comparison", "schema": 1, "runs": [{"created": ""}]}', "is not a results.json"),
        ("\udcff", "is not a results.json"),
    ],
)
def test_a_file_that_is_not_ours_is_one_clear_error(tmp_path: Path, content: str, why: str):
    path = tmp_path / "results.json"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(UsageError, match=r"results\.json") as caught:
        read(path)
    assert why in str(caught.value)


def test_a_half_of_a_file_is_not_read(tmp_path: Path):
    path = tmp_path / "results.json"
    write(path, [run_of({"jax unidl": 1000.0})])
    path.write_text(path.read_text()[:-200])
    with pytest.raises(UsageError, match=r"is not a results\.json"):
        read(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "results.json"
    write_bytes(path, b"old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UnidlError, match="No space left"):
        write_bytes(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("results.json", b"old")]


def test_a_group_is_given_as_it_was_measured():
    run = run_of({"jax unidl": 1.0, "jax keras": 2.0}, measured(cell("jax unidl", "lstm"), [1.0]))
    assert [(group.model, len(members)) for group, members in run.groups()] == [("cnn", 3), ("lstm", 1)]


def test_cells_of_a_comparison():
    found = cells(
        models=["cnn", "transfer"],
        backends=["jax", "torch"],
        device="cpu",
        precisions=["float32", "mixed_bfloat16"],
        batch_sizes=[],
        against=["native"],
    )
    sizes = [(group.model, group.precision, group.batch_size) for group in found]
    assert sizes == [
        ("cnn", "float32", 128),
        ("cnn", "mixed_bfloat16", 128),
        ("transfer", "float32", 16),
        ("transfer", "mixed_bfloat16", 16),
    ]
    titles = [one.title for one in found[Group("cnn", "cpu", "float32", 128)]]
    assert titles == ["jax unidl", "jax unidl (twin)", "jax native", "torch unidl", "torch native"]


def test_the_environment_names_no_person_and_no_place():
    found = environment({})
    text = json.dumps(found)
    for private in (str(Path.home()), str(Path.cwd()), __import__("platform").node()):
        assert len(private) < 4 or private not in text
    assert found["processor"]["usable_cores"] >= 1
    assert str(found["python"]) in machine(found)
