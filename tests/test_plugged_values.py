"""A data set and a precision of another distribution, used by their names as ours are, with no change in unidl.

Without this a laboratory that has a data set of its own has to copy unidl to train on it by name.
"""

from __future__ import annotations

import json
import os
import sys

import plugged
import processes
import pytest

from unidl import precision
from unidl.backend import Device
from unidl.data import load_data
from unidl.errors import DataError, PrecisionError, UsageError

SOURCE = """
import numpy as np
from unidl.backend import Precision
from unidl.data import Dataset, Loader, Split

def load_bars(seed=0, rows=48):
    drawn = np.random.default_rng(seed)
    y = np.arange(rows, dtype=np.int32) % 2
    x = drawn.uniform(0, 0.2, (rows, 28, 28, 1)).astype(np.float32)
    x[y == 0, 14] = 1
    x[y == 1, :, 14] = 1
    names = ("across", "down")
    half = rows // 2
    return Dataset(
        "bars", "images", Split(x[:half], y[:half], class_names=names), Split(x[half:], y[half:], class_names=names),
        {"source": "added", "seed": seed},
    )

BARS = Loader("images of a bar", load_bars, seeded=True)
NUMBERS = Loader("numbers", lambda: [1, 2, 3])
CAREFUL = Precision(
    "careful", dtype_policy="mixed_bfloat16", compute_dtype="bfloat16", products="float32", unit_roundoff=2.0**-8
)
FOURBIT = Precision("fourbit", dtype_policy="float32", products="fp4")
MISNAMED = CAREFUL
"""
DATA = "bars = added:BARS\nnumbers = added:NUMBERS\nbroken = added:NOTHING"
PRECISIONS = "careful = added:CAREFUL\nfourbit = added:FOURBIT\nmisnamed = added:MISNAMED"
CPU = Device("cpu", 0, "CPU")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The folder where the distribution is."""
    plugged.install(tmp_path, SOURCE, data=DATA, precisions=PRECISIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("added", None)


@pytest.mark.usefixtures("installed")
def test_a_data_set_is_loaded_by_its_name():
    data = load_data("bars", seed=3)
    assert data.train.x.shape == (24, 28, 28, 1)
    assert data.origin == {"source": "added", "seed": 3}
    with pytest.raises(
        UsageError, match=r"'bars' \(images of a bar\), which takes none of these options\. Leave test_"
    ):
        load_data("bars", test_fraction=0.5)
    with pytest.raises(DataError, match=r"'numbers': its plugin gave a list, not a unidl\.data\.Dataset"):
        load_data("numbers")
    with pytest.raises(DataError, match=r"the plugin 'broken' of the group unidl\.data: added:NOTHING cannot"):
        load_data("broken")
    with pytest.raises(DataError, match=r"'bar'\. Did you mean 'bars'\? Known data sets: 'digits', .*, 'bars'"):
        load_data("bar")
    assert load_data("digits").name == "digits"


@pytest.mark.usefixtures("installed")
def test_a_precision_is_found_by_its_name():
    row = precision.resolve("careful", CPU)
    assert (row.name, row.dtype_policy, row.tf32) == ("careful", "mixed_bfloat16", False)
    with pytest.raises(PrecisionError, match=r"'misnamed'.* named 'careful'\. The names must be equal"):
        precision.resolve("misnamed", CPU)
    with pytest.raises(PrecisionError, match=r"'carefull'\. Allowed: 'auto', 'float32', .*, 'careful', 'fourbit'"):
        precision.resolve("carefull", CPU)


@pytest.mark.usefixtures("installed")
def test_a_model_remembers_the_precision_of_a_plugin(backend, monkeypatch):
    """Its layers have the dtype policy of one of ours, which differs in what it lets the device round."""
    from unidl import Trainer, build_cnn

    model = build_cnn((8, 8, 1), 2, filters=(2,), precision="careful")
    assert Trainer(model).precision.name == Trainer(model, precision="careful").precision.name == "careful"
    assert Trainer(model, precision="mixed_bfloat16").precision.name == "mixed_bfloat16"
    assert Trainer(build_cnn((8, 8, 1), 2, filters=(2,), precision="mixed_bfloat16")).precision.name == "mixed_bfloat16"
    monkeypatch.setenv("UNIDL_PRECISION", "careful")
    assert Trainer(build_cnn((8, 8, 1), 2, filters=(2,))).precision.name == "careful"


@pytest.mark.once
def test_both_are_used_from_the_command_line(installed):
    words = ("train", "cnn", "--data", "bars", "--precision", "careful", "--epochs", "2", "--batch-size", "8")
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    here = {"PYTHONPATH": path, "UNIDL_PRECISION": None}
    done = processes.unidl(*words, "--out", "run", cwd=installed, **here)
    assert done.returncode == 0, done.stderr
    run = json.loads((installed / "run" / "run.json").read_text())
    assert (run["configuration"]["data"], run["precision"]) == ("bars", "careful")
    again = processes.unidl("evaluate", "run", cwd=installed, **here)
    assert again.returncode == 0, again.stderr
    refused = processes.unidl(*words[:4], "--precision", "fourbit", "--out", "other", cwd=installed, **here)
    assert refused.returncode == 3
    assert "cannot compute in precision 'fourbit': it does not support 'fp4'" in refused.stderr
