"""Memory as a framework here takes it. Without this "fits" is wrong by the half for a transformer on JAX."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import arrays_file, unidl

import unidl as package
from unidl.data.recognising import as_split
from unidl.errors import BackendError
from unidl.planning import calibration_worker
from unidl.planning.calibration import COUNTED, RESIDENT, Calibration, batches_for, line_through
from unidl.planning.calibration_worker import step_bytes
from unidl.planning.memory import largest_batch, memory_need
from unidl.planning.resident import peak_bytes
from unidl.planning.subject import cost_of
from unidl.precision import named

MIB = 2**20


def small(name: str):
    """A model of each kind, with rows of its data. With 32 to 128 rows each kernel is the same: those of convolutions
    on JAX take parts of larger batches, and those of an LSTM on PyTorch are others from 1024 rows of 32 units on."""
    draws = np.random.default_rng(0)
    if name == "cnn":
        model = package.build_cnn((20, 20, 1), classes=3, filters=(8, 8), dense_units=8)
        return model, draws.random((64, 20, 20, 1), dtype=np.float32)
    build = package.build_lstm if name == "lstm" else package.build_transformer
    sizes = {"units": 32, "embedding_size": 32} if name == "lstm" else {"units": 32, "heads": 2, "layers": 1}
    return build(40, 12, classes=3, **sizes), draws.integers(0, 40, (64, 12)).astype("int32")


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_two_batches_say_what_a_third_one_takes(name, backend):
    if backend.name == "tensorflow":
        pytest.skip("TensorFlow counts nothing on a CPU; the growth of a process is measured by benchmarks")
    model, x = small(name)
    trainer = package.Trainer(model, device="cpu")
    found, how = step_bytes(trainer, as_split((x, np.arange(64) % 3)), [32, 64, 128])
    assert how == COUNTED
    line = line_through(backend.name, dict(zip((32, 64), found[:2], strict=True)), how)
    cost = cost_of(model)
    need = memory_need(cost, named("float32"), 128, calibration=line)
    fixed = need.weights + need.optimizer
    assert need.total == pytest.approx(fixed + found[2], rel=0.10)
    assert found[2] > 128 * x[0].nbytes  # it is the memory of activations that is counted


def test_a_line_through_two_batches_is_continued():
    line = line_through("jax", {20: 50.0, 10: 30.0}, COUNTED)
    assert (line.fixed_bytes, line.row_bytes, line.batches) == (10.0, 2.0, (10, 20))
    assert line.bytes(100) == 210.0
    assert line_through("jax", {10: 30.0, 20: 30.0}, COUNTED).bytes(10**6) == 30.0


def test_batches_that_are_counted_fit_into_the_memory():
    assert batches_for(128, 1e6, None) == (64, 128)
    assert batches_for(128, 1e6, 1e12) == (64, 128)
    assert batches_for(128, 1e6, 100e6) == (16, 32)
    assert batches_for(1, 1e6, 1.0) == (1, 2)


def test_the_largest_batch_follows_the_calibration():
    cost = cost_of(small("cnn")[0])
    line = Calibration("jax", 1 * MIB, 2 * MIB, (64, 128), COUNTED)
    most = largest_batch(cost, named("float32"), 2e9, calibration=line)
    fits, not_ = (memory_need(cost, named("float32"), size, calibration=line).total for size in (most, most + 1))
    assert fits <= (2e9 - 0.6e9) * 0.95 < not_
    half = memory_need(cost, named("mixed_bfloat16"), 1000, calibration=line)
    whole = memory_need(cost, named("float32"), 1000, calibration=line)
    assert half.activations == pytest.approx(whole.activations / 2, rel=0.01)


def test_a_framework_that_counts_nothing_is_measured_by_the_growth_of_the_process(monkeypatch):
    peaks = iter([100, 130, 190])
    monkeypatch.setattr(calibration_worker, "peak_bytes", lambda: next(peaks))
    model, x = small("cnn")
    trainer = package.Trainer(model, device="cpu")
    found, how = step_bytes(trainer, as_split((x, np.arange(64) % 3)), [16, 32], resident=True)
    assert (found, how) == ([30.0, 90.0], RESIDENT)


def test_the_peak_of_a_process_grows():
    before = peak_bytes()
    kept = np.ones(before, np.uint8)
    assert before < peak_bytes() <= 2.1 * kept.nbytes


@pytest.mark.parametrize("option", [["--inference"], []])
def test_what_cannot_be_calibrated_is_refused(option):
    words = ["plan", "cnn", "--data", arrays_file()] if option else ["plan", "MobileNet", "--image-size", "32"]
    answer = unidl(*words, "--calibrate", *option)
    assert answer.code == 2
    assert "Cannot use --calibrate" in answer.err


def test_a_plan_says_that_its_memory_was_counted(monkeypatch):
    line = Calibration("jax", 1.0 * MIB, 3.0 * MIB, (8, 16), COUNTED)
    monkeypatch.setattr("unidl.planning.calibration.calibrate", lambda *_, **__: line)
    words = ["plan", "cnn", "--data", arrays_file(), "--batch-size", "16", "--gpus", "T4", "--precision", "float32"]
    answer = unidl(*words, "--calibrate")
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    assert "activations counted by the framework with jax" in text
    assert "for batches of 8 and 16" in text


def test_a_process_that_fails_gives_its_reason(monkeypatch):
    from unidl.planning import calibration
    from unidl.runs.configuration import RunConfiguration
    from unidl.workers.process import WorkerError

    class Dies:
        def __init__(self, command):
            pass

        def ask(self, command, seconds):
            raise WorkerError("killed by signal 9")

        def close(self):
            pass

    monkeypatch.setattr(calibration, "WorkerProcess", Dies)
    with pytest.raises(BackendError, match=r"batches of 8 and 16 rows with jax: killed by signal 9"):
        calibration.calibrate(RunConfiguration.of(model="cnn"), "jax", (8, 16))
