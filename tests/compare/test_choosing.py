"""UNIDL_BACKEND=auto. Without this a person trains on the slower framework, and believes that it was measured."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from comparisons import STEADY, cell, measured, run_of

from unidl import fastest, registry
from unidl.compare import choosing
from unidl.doctor.advice import advise
from unidl.doctor.frameworks import Answer, Framework
from unidl.doctor.survey import automatic
from unidl.errors import BackendError
from unidl.fastest import Decision, Speeds, decide
from unidl.machine.nvidia import Gpus

UNDER_TEST = os.environ["UNIDL_BACKEND"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))


def speeds(resolution: float | None = 1.02, **rates: float) -> Speeds:
    return Speeds({name: [rate * noise for noise in STEADY] for name, rate in rates.items()}, resolution)


def test_the_fastest_is_taken_and_by_how_much():
    decision = decide({"cnn": speeds(jax=1000.0, torch=1500.0)})
    assert (decision.backend, decision.second, decision.claimed) == ("torch", "jax", True)
    assert str(decision) == "1.50 (1.50-1.50) times as fast as jax on cnn"


def test_over_several_models_the_geometric_mean_decides():
    both = {"cnn": speeds(jax=1000.0, torch=1500.0), "lstm": speeds(jax=8000.0, torch=2000.0)}
    assert decide(both).backend == "jax"
    assert decide(both).ratio.median == pytest.approx((4 / 1.5) ** 0.5)
    assert decide(both, "cnn").backend == "torch"
    assert decide(both, "runs/of_mine").backend == "jax"


@pytest.mark.parametrize("resolution", [1.6, None])
def test_a_lead_within_the_noise_is_no_claim(resolution):
    decision = decide({"cnn": speeds(resolution, jax=1000.0, torch=1500.0)})
    assert decision.backend == "torch"
    assert not decision.claimed
    assert "not a significant difference" in str(decision)


def test_a_backend_must_run_every_model():
    decision = decide({"cnn": speeds(jax=1.0, torch=9.0), "lstm": speeds(jax=1.0)})
    assert decision.backend == "jax"
    assert "the only one" in str(decision)
    assert decide({"cnn": speeds(torch=9.0), "lstm": speeds(jax=1.0)}) is None
    assert decide({}) is None


def kept() -> None:
    """A comparison in the cache, in which the backend under test is the slow one for the LSTM."""
    other = "torch" if UNDER_TEST != "torch" else "jax"
    run = run_of({f"{UNDER_TEST} unidl": 2000.0, f"{other} unidl": 1000.0})
    slow = measured(cell(f"{UNDER_TEST} unidl", "lstm"), [100.0 * noise for noise in STEADY])
    twin = replace(slow, cell=replace(slow.cell, twin=True))
    fast = measured(cell(f"{other} unidl", "lstm"), [150.0 * noise for noise in STEADY])
    choosing.keep(replace(run, measurements=(*run.measurements, slow, twin, fast)), "cpu")


def chosen(model: str | None = None) -> Decision:
    return fastest.chosen(model, registry.versions(list(registry.adapters())))


def test_what_is_kept_is_chosen(monkeypatch):
    kept()
    monkeypatch.setenv("UNIDL_DEVICE", "cpu")
    assert chosen().backend == UNDER_TEST
    assert chosen("cnn").backend == UNDER_TEST
    assert chosen("lstm").backend != UNDER_TEST


def test_another_machine_or_device_was_not_compared(monkeypatch):
    kept()
    monkeypatch.setenv("UNIDL_DEVICE", "gpu")
    with pytest.raises(BackendError, match="unidl compare --choose"):
        chosen()
    monkeypatch.setenv("UNIDL_DEVICE", "cpu")
    monkeypatch.setattr(fastest, "_machine", lambda: ("another CPU",))
    with pytest.raises(BackendError, match="have not been compared"):
        chosen()


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99, "machines": {}}', '{"schema": 1}'])
def test_a_damaged_cache_is_measured_again(content):
    fastest.cache_file().parent.mkdir(parents=True, exist_ok=True)
    fastest.cache_file().write_text(content)
    with pytest.raises(BackendError, match="unidl compare --choose"):
        chosen()
    kept()
    assert chosen().models == ("cnn", "lstm")


@pytest.mark.once
def test_auto_takes_it_says_why_and_imports_no_framework():
    kept()
    code = (
        "import sys, unidl; print([row.name for row in unidl.backends() if row.selected], "
        "sorted({'jax', 'torch', 'tensorflow', 'keras'} & set(sys.modules)))\n"
        "import logging; logging.basicConfig(level='INFO', format='%(message)s', force=True, stream=sys.stdout)\n"
        "from unidl import registry; registry.current()"
    )
    chosen, said = processes.python(code, UNIDL_BACKEND="auto", UNIDL_DEVICE="cpu").splitlines()[:2]
    assert chosen == f"['{UNDER_TEST}'] []"
    assert said.startswith(f"backend {UNDER_TEST} ")
    assert "(chosen by UNIDL_BACKEND=auto: 1." in said
    assert said.endswith("on cnn and lstm)")


@pytest.mark.once
def test_keras_imported_after_unidl_runs_on_what_auto_takes():
    kept()
    code = "import unidl, keras; print(keras.backend.backend())"
    environment = {"UNIDL_BACKEND": "auto", "UNIDL_DEVICE": "cpu", "KERAS_BACKEND": None}
    assert processes.python(code, **environment) == UNDER_TEST


def test_auto_takes_what_is_the_fastest_for_the_model_of_the_command():
    kept()
    code = "from unidl import registry; registry.expect('lstm'); print(registry.choice()[0].name)"
    environment = {"UNIDL_BACKEND": "auto", "UNIDL_DEVICE": "cpu"}
    assert processes.python(code, **environment) != UNDER_TEST
    assert processes.python(code.replace("lstm", "cnn"), **environment) == UNDER_TEST


def test_the_doctor_says_what_auto_needs():
    environment = {"UNIDL_BACKEND": "auto"}
    answer = Framework("jax", "JAX", True, "1.0", False, True, Answer())
    assert "`unidl compare --choose`" in automatic((answer,), environment).backend.reason
    [line] = advise((answer,), Gpus(()), environment, None)
    assert "`unidl compare --choose`" in line


def test_auto_without_a_comparison_says_what_to_run():
    done = processes.run(sys.executable, "-m", "unidl", "train", "cnn", UNIDL_BACKEND="auto")
    assert done.returncode == BackendError.exit_code
    assert "`unidl compare --choose`" in done.stderr
    for name in registry.adapters():
        assert name in done.stderr
