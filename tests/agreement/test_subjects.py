"""Models of every kind can be verified, or are refused with the reason.

Without this the certificate is for the models of this library alone, or says that all agree about nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from unidl import registry
from unidl.agreement import certify
from unidl.agreement.certificate import Setting
from unidl.agreement.certify import Verifier
from unidl.agreement.subject import Subject
from unidl.workers.process import WorkerError

MODELS = Path(__file__).parents[1] / "verified_models.py"
BACKEND = registry.current().name


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as found:
        yield found


@cache
def certificate(verifier, name: str, precision: str = "float32", **options):
    """The certificate of a model, computed once: each of them takes seconds."""
    settings = [Setting(BACKEND, "cpu", precision, "unidl")]
    return verifier.certificate(Subject(f"{MODELS}:{name}", **options), settings, steps=2, confirm=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("own", {"input_shape": (5,)}),
        ("sequential", {}),
        ("several", {}),
        ("grouped", {"input_shape": (4, 6)}),
        ("of_three_rows", {}),
        ("careful", {}),
        ("gated", {}),
    ],
)
def test_a_model_of_any_kind_is_verified(verifier, name: str, options):
    found = certificate(verifier, name, **options)
    assert found.agrees, [(trial.failure, found.fault(trial)) for trial in found.trials]
    assert {one.kind for one in found.trials[0].differences} >= {"output", "loss", "gradient", "weight", "losses"}
    assert (found.silenced == ("dropout#0",)) == (name == "sequential")


def test_the_rows_are_those_that_were_computed(verifier):
    """A certificate that says more is not of the model as it is."""
    assert certificate(verifier, "of_three_rows").rows == 3
    assert certificate(verifier, "several").rows == 4


def test_each_call_of_a_shared_layer_counts(verifier):
    places = [one.place for one in certificate(verifier, "several").trials[0].differences if one.kind == "output"]
    assert {"shared", "shared call 2"} <= set(places)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("own", "--input 32,32,3, or --input 20:int32 for tokens"),
        ("infinite", "is not finite for a random batch. Compile it with"),
        ("restless", "draws random numbers also in inference"),
        ("frozen", "it has no trainable weights"),
    ],
)
def test_what_cannot_be_verified_says_why(verifier, name: str, reason: str):
    with pytest.raises(WorkerError) as caught:
        certificate(verifier, name)
    assert reason in str(caught.value)
    assert f"\n  {BACKEND}: ModelError" in str(caught.value)


@pytest.mark.once
def test_a_precision_that_is_not_that_of_the_layers_is_no_agreement(verifier):
    """bfloat16 would be held to the bound of float32, or float32 be certified as bfloat16."""
    [trial] = certificate(verifier, "half_precision").trials
    assert "were built in 'mixed_bfloat16'" in str(trial.failure)
    assert not certificate(verifier, "half_precision").agrees
    assert certificate(verifier, "half_precision", "mixed_bfloat16").agrees


def test_weights_in_bfloat16_are_held_to_its_rounding(verifier):
    found = certificate(verifier, "pure_half_precision", "bfloat16")
    assert found.agrees, [(trial.failure, found.fault(trial)) for trial in found.trials]
    assert found.trials[0].verdict() == "agrees within the dtype"


@pytest.mark.once
def test_a_worker_goes_on_after_a_model_that_it_refuses(verifier, monkeypatch):
    """Else each refused subject costs the start of every framework anew."""
    with pytest.raises(WorkerError):
        certificate(verifier, "frozen")
    monkeypatch.setattr(certify, "WorkerProcess", None)  # no further one can be started
    with pytest.raises(WorkerError, match="it has no trainable weights"):
        certificate(verifier, "frozen")
