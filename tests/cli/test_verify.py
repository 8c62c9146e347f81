"""`unidl verify` says whether the backends agree, where they do not, and with an exit code that a script can use."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from processes import unidl

from unidl import registry

SUBJECTS = Path(__file__).parents[1] / "planted.py"
SOUND = SUBJECTS.with_name("verified_models.py")
BACKEND = registry.current().name


def verify(*words, **environment):
    return unidl("verify", *map(str, words), "--backends", BACKEND, "--steps", "2", **environment)


@pytest.mark.once
def test_a_sound_model_is_certified(tmp_path):
    done = verify(f"{SOUND}:sequential", "--out", tmp_path / "certificate")
    assert done.returncode == 0, done.stderr
    assert "sequential: all agree" in done.stdout
    assert "wrote" in done.stderr
    [found] = json.loads((tmp_path / "certificate" / "certificate.json").read_text())
    assert found["agrees"]
    assert {trial["verdict"] for trial in found["trials"]} == {"agrees"}  # also on a GPU, where there is one
    report = (tmp_path / "certificate" / "certificate.md").read_text()
    assert re.search(r"^\| dense\S* \| Dense \|", report, flags=re.MULTILINE)


@pytest.mark.agree
def test_a_fault_is_named_with_its_layer(tmp_path):
    subject = tmp_path / "mine.py"
    subject.write_text(
        f"import sys; sys.path.insert(0, {str(SUBJECTS.parent)!r})\n"
        "from planted import faulty\n"
        "def build():\n"
        f"    return faulty('images', 'a transposed kernel', {BACKEND!r})\n"
    )
    done = verify(f"{subject}:build", "--quiet")
    assert done.returncode == 10
    assert f"{BACKEND}, cpu, float32, unidl: first wrong at square (Dense): output off by" in done.stdout
    assert "1 of 1 do not agree" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["nothing"],
            2,
            "neither a builder (cnn, lstm, transfer, transformer, text-classifier, tabular), nor the directory",
        ),
        (["nothing.py:build"], 2, "the file nothing.py does not exist"),
        (["cnn", "--precision", "float8"], 2, "Cannot use precision 'float8'. Known: float32"),
        (["cnn", "--by", "pytorch"], 2, "Cannot use implementation 'pytorch'. Known: unidl, keras"),
        (["cnn", "--devices", "tpu"], 2, "Cannot verify on device 'tpu'"),
        (["cnn", "--input", "ten"], 2, "expected numbers such as 32,32,3 or 20:int32"),
        pytest.param(
            *([f"{SUBJECTS}:no_such_function"], 7, "has no function 'no_such_function'"), marks=pytest.mark.once
        ),
        pytest.param([SUBJECTS.parent], 8, "it has no manifest.json", marks=pytest.mark.once),
    ],
)
def test_what_cannot_be_verified_is_one_error(words, code, said):
    done = verify(*words, "--quiet")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
