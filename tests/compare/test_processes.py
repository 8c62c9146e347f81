"""Workers that die, hang and answer nonsense, and the turns of those that do not. Without this one bad cell ends an
hour of measuring, or two cells are measured at once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from unidl.compare.cells import cells
from unidl.compare.measure import INTERRUPTED, Plan, measure
from unidl.compare.progress import Quiet
from unidl.compare.results import Run
from unidl.workers.process import WorkerError, WorkerProcess

pytestmark = pytest.mark.once  # no framework takes part

STUB = """
    import json, os, signal, sys, time
    ANSWERS = {
        "prepare": {"epochs": 1, "rows": 10, "losses": [1.0], "versions": {"x": "1"}},
        "round": {"rows": 10, "seconds": 0.5},
        "memory": {"process_peak_bytes": 7},
        "inference": {"latency_p50_seconds": 0.1},
        "peak": {"peak_flops_per_second": 1e9},
    }
    def log(event, command):
        with open(sys.argv[1], "a") as file:
            file.write(f"{event} {me} {command}\\n")
    me = None
    for line in sys.stdin:
        asked = json.loads(line)
        command = asked["command"]
        me = me or asked["backend"] + "/" + asked["implementation"] + ("/twin" if asked["twin"] else "")
        log("begin", command)
        if command == os.environ.get("BAD_COMMAND") and me == os.environ.get("BAD_CELL"):
            exec(os.environ["BAD"])
        log("end", command)
        print(json.dumps(ANSWERS[command]), flush=True)
"""


def stub(log: Path) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(STUB), str(log)]


def measured(
    log: Path, rounds: int = 3, against: tuple[str, ...] = ("keras",), models: tuple[str, ...] = ("cnn",)
) -> Run:
    groups = cells(
        models=models, backends=["jax"], device="cpu", precisions=["float32"], batch_sizes=[8], against=against
    )
    limits = {"prepare": 20.0, "round": 4.7, "memory": 20.0, "inference": 20.0, "peak": 20.0}
    plan = Plan(rounds, 0.01, limits_seconds=limits)
    return measure(groups, plan, Quiet(), launch=lambda: WorkerProcess(stub(log)))


def misbehave(monkeypatch: pytest.MonkeyPatch, code: str, command: str = "round", cell: str = "jax/keras") -> None:
    monkeypatch.setenv("BAD_COMMAND", command)
    monkeypatch.setenv("BAD_CELL", cell)
    monkeypatch.setenv("BAD", code)


def test_rounds_take_turns_and_nothing_runs_beside_them(tmp_path: Path):
    run = measured(tmp_path / "log")
    events = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [event for event, _, _ in events] == ["begin", "end"] * (len(events) // 2)
    begun = [(cell, command) for event, cell, command in events if event == "begin"]
    turn = ["jax/unidl", "jax/unidl/twin", "jax/keras"]
    assert begun[:12] == [(cell, command) for command in ("prepare", *["round"] * 3) for cell in turn]
    unidl, keras = ("memory", "inference", "peak"), ("memory", "inference")
    assert begun[12:] == [("jax/unidl", each) for each in unidl] + [("jax/keras", each) for each in keras]
    assert [len(one.rounds) for one in run.measurements] == [3, 3, 3]
    assert run.measurements[0].peak_flops_per_second == 1e9
    assert run.measurements[2].latency_p50_seconds == 0.1
    assert not run.interrupted


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit('the last word')", "exited with code 1; its last line: the last word"),
        ("print(json.dumps({'error': 'ValueError: no such'}), flush=True)", "ValueError: no such"),
        (
            "print(json.dumps({'error': 'XlaError: RESOURCE_EXHAUSTED: 9 GB'}), flush=True)",
            "out of memory: Xla",
        ),
        ("print('nonsense', flush=True)", "its answer cannot be read: nonsense"),
        ("time.sleep(60)", "no answer to 'round' within 5 s"),
    ],
)
def test_a_cell_that_fails_is_a_row_with_its_reason(tmp_path, monkeypatch, code: str, reason: str):
    misbehave(monkeypatch, code)
    unidl, twin, keras = measured(tmp_path / "log").measurements
    assert str(keras.failure).startswith(reason)
    assert unidl.failure is twin.failure is None
    assert len(unidl.rounds) == len(twin.rounds) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_worker_that_the_system_kills_says_what_it_means(tmp_path, monkeypatch):
    misbehave(monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)", command="prepare")
    failure = measured(tmp_path / "log").measurements[2].failure
    assert failure == "killed by signal 9 (Killed), possibly for lack of memory"


def test_a_worker_that_fails_is_asked_nothing_more(tmp_path, monkeypatch):
    misbehave(monkeypatch, "sys.exit(3)", command="prepare")
    measured(tmp_path / "log")
    assert (tmp_path / "log").read_text().count("jax/keras") == 1


def test_rounds_stand_even_if_what_comes_after_them_fails(tmp_path, monkeypatch):
    misbehave(monkeypatch, "sys.exit('no predict')", command="inference")
    keras = measured(tmp_path / "log").measurements[2]
    assert keras.failure is None
    assert keras.why_incomplete == "inference: exited with code 1; its last line: no predict"
    assert len(keras.rounds) == 3
    assert keras.process_peak_bytes == 7


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    """The first group is whole; of the second only the first cell had a round."""

    class Impatient(Quiet):
        def doing(self, what: str) -> None:
            if what.startswith("lstm") and "(twin), round 1" in what:
                raise KeyboardInterrupt

    groups = cells(
        models=["cnn", "lstm", "gru"],
        backends=["jax"],
        device="cpu",
        precisions=["float32"],
        batch_sizes=[8],
        against=(),
    )
    kept: list[Run] = []
    launched: list[WorkerProcess] = []

    def launch() -> WorkerProcess:
        launched.append(WorkerProcess(stub(tmp_path / "log")))
        return launched[-1]

    run = measure(groups, Plan(2, 0.01), Impatient(), launch=launch, keep=kept.append)
    found = [(one.cell.model, one.failure, len(one.rounds)) for one in run.measurements]
    assert found == [("cnn", None, 2), ("cnn", None, 2), ("lstm", None, 1), ("lstm", INTERRUPTED, 0)]
    assert run.interrupted
    assert [len(each.measurements) for each in kept] == [2, 4]
    assert len(launched) == 4
    for process in launched:
        with pytest.raises((WorkerError, ValueError)):
            process.ask({"command": "round"}, 5)


def test_the_choices_of_the_parent_do_not_reach_a_worker(monkeypatch):
    monkeypatch.setenv("UNIDL_DEVICE", "gpu")
    monkeypatch.setenv("UNIDL_PREALLOCATE", "1")
    code = "import json, os; input(); print(json.dumps(dict(os.environ)))"
    process = WorkerProcess([sys.executable, "-c", code])
    try:
        variables = process.ask({"command": "any"}, 20)
    finally:
        process.close()
    assert not {"UNIDL_BACKEND", "UNIDL_DEVICE", "KERAS_BACKEND"} & set(variables)
    assert variables["UNIDL_PREALLOCATE"] == "1"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_worker_ends_with_its_parent_even_while_it_works(tmp_path):
    """A killed comparison must not keep on training in the background."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, pathlib, sys, time\n"
        "from unidl.compare import worker\n"
        "def answer(self, command):\n"
        "    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "worker.Worker.answer = answer\n"
        "worker.main()\n"
    )
    parent = (
        "import sys; from unidl.workers.process import WorkerProcess\n"
        "WorkerProcess([sys.executable, *sys.argv[1:]]).ask({'command': 'round'}, 600)"
    )
    running = subprocess.Popen([sys.executable, "-c", parent, str(worker), str(tmp_path / "pid")])
    while not ((tmp_path / "pid").is_file() and (tmp_path / "pid").read_text()):
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    pid = int((tmp_path / "pid").read_text())
    ends = time.monotonic() + 60
    while _runs(pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether a process is there; one that has ended and is not waited for yet does not count."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_real_worker_keeps_prints_out_of_its_answers(monkeypatch):
    """Frameworks write to stdout from C++ as well."""
    code = textwrap.dedent("""
        import os
        from unidl.compare import worker
        def answer(self, command):
            print("noise")
            os.write(1, b"noise from below")
            return {"heard": command["command"]}
        worker.Worker.answer = answer
        worker.main()
    """)
    process = WorkerProcess([sys.executable, "-c", code])
    try:
        assert process.ask({"command": "anything"}, 60) == {"heard": "anything"}
        assert json.dumps(process.ask({"command": "more"}, 60)) == '{"heard": "more"}'
    finally:
        process.close()
