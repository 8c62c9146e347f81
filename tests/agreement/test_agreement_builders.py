"""Every builder and every option computes the same on all frameworks, in every precision.

Without this a person who moves a run between frameworks must find out what the models of unidl do on each.
"""

from __future__ import annotations

import pytest

from unidl import registry
from unidl.agreement.certificate import Setting
from unidl.agreement.certify import Verifier
from unidl.agreement.subject import Subject

INSTALLED = [status.name for status in registry.backends() if status.installed]
MIXED = ("mixed_bfloat16", "mixed_float16")

F32 = ("float32",)

CNN = {"input_shape": (14, 13, 3), "classes": 4, "filters": (6, 8), "dense_units": 12}
LSTM = {"vocabulary_size": 30, "sequence_length": 6, "units": 8, "embedding_size": 6}
SERIES = {"vocabulary_size": None, "sequence_length": 5, "features": 3, "units": 6}
TRANSFORMER = {"vocabulary_size": 30, "sequence_length": 6, "units": 8, "heads": 2, "layers": 1}
SMALL = {"input_shape": (32, 32, 3), "classes": 4}

BUILDERS = {
    "cnn": ("cnn", {}, F32),
    "cnn, wide kernels, normalized": (
        "cnn",
        CNN | {"kernel_size": 4, "batch_normalization": True, "dropout": 0.4},
        ("float32", *MIXED),
    ),
    "lstm": ("lstm", {}, ("float32", "mixed_float16")),
    "lstm, stacked": ("lstm", LSTM | {"layers": 2, "dropout": 0.3, "output": "steps"}, F32),
    "lstm, both ways and padded": ("lstm", LSTM | {"bidirectional": True, "mask_padding": True}, F32),
    "gru": ("lstm", LSTM | {"cell": "gru"}, ("float32", "mixed_bfloat16")),
    "gru, both ways and padded": (
        "lstm",
        LSTM | {"cell": "gru", "bidirectional": True, "mask_padding": True},
        ("float32",),
    ),
    "lstm, series to numbers": ("lstm", SERIES | {"targets": 2}, F32),
    "lstm, padded series to classes": ("lstm", SERIES | {"classes": 3, "mask_padding": True}, F32),
    "transformer": ("transformer", {}, F32),
    "transformer, every step, dropout": (
        "transformer",
        TRANSFORMER | {"layers": 2, "dropout": 0.3, "output": "steps"},
        ("float32", *MIXED),
    ),
    "transformer, padded": ("transformer", TRANSFORMER | {"mask_padding": True}, F32),
    "transformer, sines, all steps to numbers": (
        "transformer",
        TRANSFORMER
        | {"sequence_length": None, "positions": "sines", "causal": False, "output": "average", "targets": 2},
        F32,
    ),
    "text classifier": ("text-classifier", {"sequence_length": 16}, ("float32", "mixed_bfloat16")),
    "transfer": ("transfer", SMALL, F32),
    "transfer, average": (
        "transfer",
        SMALL | {"base": "MobileNet", "pooling": "average", "dropout": 0.2},
        ("float32",),
    ),
}


OFTEN = {
    "cnn, wide kernels, normalized",
    "gru",
    "lstm, both ways and padded",
    "lstm, series to numbers",
    "text classifier",
    "transformer, sines, all steps to numbers",
}
"""Those that are verified with the other tests; `tox -m agree` verifies the rest."""


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as found:
        yield found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.agree if name in OFTEN else pytest.mark.long) for name in BUILDERS]
)
def test_a_builder_agrees(verifier, name: str):
    builder, arguments, precisions = BUILDERS[name]
    settings = [Setting(backend, "cpu", precision, "unidl") for backend in INSTALLED for precision in precisions]
    found = verifier.certificate(Subject(builder, arguments), settings, steps=3)
    assert found.agrees, [(trial, trial.failure or found.fault(trial)) for trial in found.trials if not trial.agrees]
    assert [check.agrees for check in found.checks] == [True] * (len(INSTALLED) - 1)
    assert all(trial.verdict() == "agrees" for trial in found.trials if trial.precision == "float32")
