"""A fault in one backend is found, and in the right layer; a sound model is never accused.

Without this a certificate says nothing: neither that all agree, nor where they do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from unidl import registry
from unidl.agreement.certificate import Setting
from unidl.agreement.certify import Verifier
from unidl.agreement.subject import Subject

registry.current()

import planted  # noqa: E402  (imports Keras, and only now is it decided on which framework it runs)

HERE = Path(__file__).parents[1]
INSTALLED = [status.name for status in registry.backends() if status.installed]
FAULTY = registry.current().name
KERAS = planted.keras.backend.backend()
"""The backend that the faults are planted in, beside a sound one if there is one."""
MODELS = 200


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as found:
        yield found


def settings(backends):
    return [Setting(name, "cpu", "float32", "unidl") for name in backends]


ONE_OF_A_KIND = (
    "padding on the wrong side",
    "a stale statistic",
    "half a gradient",
    "another optimizer",
    "swapped gates",
)
"""Of the forward pass, of a state, of the backward pass, of the step, of a loop; the others are found likewise."""


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=pytest.mark.agree if fault in ONE_OF_A_KIND else pytest.mark.long)
        for fault in planted.FAULTS
    ],
)
def test_a_planted_fault_is_found_in_its_layer(verifier, fault: str):
    model, place, _ = planted.FAULTS[fault]
    subject = Subject(f"{HERE / 'planted.py'}:faulty", {"model": model, "fault": fault, "backend": KERAS})
    sound = [name for name in INSTALLED if name != FAULTY][:1]
    found = verifier.certificate(subject, settings([FAULTY, *sound]), steps=2, confirm=False)
    [faulty, *others] = found.trials
    assert not found.agrees
    assert faulty.failure is None
    assert found.fault(faulty).place == place
    assert all(trial.agrees for trial in others), [trial.failure or found.fault(trial) for trial in others]


@pytest.mark.agree
@pytest.mark.parametrize("model", ["images", "steps"])
def test_without_a_fault_all_agree(verifier, model: str):
    found = verifier.certificate(Subject(f"{HERE / 'planted.py'}:{model}"), settings(INSTALLED), steps=2)
    assert found.agrees, [found.fault(trial) for trial in found.trials]
    assert [check.agrees for check in found.checks] == [True] * (len(INSTALLED) - 1)


def assert_not_accused(verifier, seed: int) -> None:
    subject = Subject(f"{HERE / 'random_models.py'}:build", {"seed": seed})
    found = verifier.certificate(subject, settings(INSTALLED), steps=3, confirm=False)
    assert found.agrees, [(trial.backend, trial.failure or found.fault(trial)) for trial in found.trials]


@pytest.mark.agree
@pytest.mark.parametrize("seed", range(4, 6))
def test_a_sound_model_is_not_accused(verifier, seed: int):
    assert_not_accused(verifier, seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(MODELS))
def test_no_sound_model_of_many_is_accused(verifier, seed: int):
    assert_not_accused(verifier, seed)
