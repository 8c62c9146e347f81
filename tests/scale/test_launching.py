"""`unidl launch`: output, exit codes, signals, and that nothing is left behind. The programs need no framework."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import run

from unidl.scale import launching

LAUNCH = (sys.executable, "-m", "unidl", "launch", "-n", "2")


def written(folder: Path, code: str) -> str:
    path = folder / "program.py"
    path.write_text(f"import os, pathlib, signal, sys, time\nrank = os.environ['RANK']\n{code}")
    return str(path)


def ended(process: int) -> bool:
    """Whether a process is gone, at most a few seconds from now."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_all_ranks_are_started_again_after_a_failure_and_each_line_has_the_number_of_its_rank(tmp_path: Path) -> None:
    code = (
        "start = os.environ['UNIDL_RESTARTED']\n"
        "print('of', rank, 'of', os.environ['WORLD_SIZE'], sys.argv[1], 'start', start)\n"
        "if rank == '0' and start == '0': os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = run(*LAUNCH, "--restarts", "1", written(tmp_path, code), "--word")
    assert done.returncode == 0, done.stderr
    assert "rank 0 ended first, with signal SIGKILL" in done.stderr
    again = [line for line in done.stdout.splitlines() if line.endswith("start 1")]
    assert sorted(again) == ["[0] of 0 of 2 --word start 1", "[1] of 1 of 2 --word start 1"]


def test_the_first_failure_is_shown_its_exit_code_kept_and_the_others_are_ended(tmp_path: Path) -> None:
    code = (
        "pathlib.Path(sys.argv[1], rank).write_text(str(os.getpid()))\n"
        "if rank == '1': sys.exit('the data is missing')\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    )
    short = (
        "import sys; from unidl.scale import launching; launching.ENDING_SECONDS = launching.KILLING_SECONDS = 0.3; "
    )
    command = f"{short}from unidl.cli.main import main; sys.exit(main())"
    done = run(sys.executable, "-c", command, "launch", "-n", "2", written(tmp_path, code), str(tmp_path))
    assert done.returncode == 1
    assert "[1] the data is missing" in done.stderr
    assert "rank 1 ended first, with exit code 1" in done.stderr
    assert all(ended(int((tmp_path / rank).read_text())) for rank in "01")


def test_signals_are_passed_on(tmp_path: Path) -> None:
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "pathlib.Path(sys.argv[1], rank).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    process = subprocess.Popen([*LAUNCH, written(tmp_path, code), str(tmp_path)], stderr=subprocess.DEVNULL)
    while not all((tmp_path / rank).exists() and (tmp_path / rank).read_text() for rank in "01"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert all(ended(int((tmp_path / rank).read_text())) for rank in "01")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process of the end of its parent")
def test_a_launcher_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    code = "pathlib.Path(sys.argv[1], rank).write_text(str(os.getpid()))\ntime.sleep(600)"
    process = subprocess.Popen([*LAUNCH, written(tmp_path, code), str(tmp_path)], stderr=subprocess.DEVNULL)
    while not all((tmp_path / rank).exists() and (tmp_path / rank).read_text() for rank in "01"):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert all(ended(int((tmp_path / rank).read_text())) for rank in "01")


def test_launchers_on_several_machines_keep_the_port_when_they_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []

    class Fails:
        signalled = False

        def __init__(self, command: object, layout: launching.Layout, *_: object) -> None:
            ports.append(layout.port)

        def wait(self) -> int:
            return 1

    monkeypatch.setattr(launching, "_Run", Fails)
    # A name of another machine, where this one cannot look for a free port.
    assert launching.launch(["true"], launching.Layout(4, 2, 2, "first.invalid", 29500), restarts=2) == 1
    assert ports == [29500] * 3


@pytest.mark.parametrize("restarted", ["0", "1"])
def test_a_training_that_is_started_again_goes_on_from_its_checkpoint(
    restarted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unidl.cli import train
    from unidl.cli.main import main
    from unidl.runs import resuming

    resumed: list[object] = []
    monkeypatch.setattr(train, "_train", lambda arguments, out, _: resumed.append((arguments.resume, out)) or 0)
    monkeypatch.setattr(resuming, "has_begun", lambda _: True)
    monkeypatch.setattr(resuming, "begun_configuration", lambda _: None)
    monkeypatch.setenv("UNIDL_RESTARTED", restarted)
    out = tmp_path / "run"
    assert main(["train", "cnn", "--out", str(out), "--save-every-steps", "5"]) == 0
    assert resumed == [(out if restarted == "1" else None, out)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Nothing to launch"),
        (("--nodes", "2", "x.py"), "--rendezvous"),
        (("--rendezvous", "here", "x.py"), "HOST:PORT"),
        (("no-such-program",), "Cannot start 'no-such-program'"),
    ],
)
def test_what_cannot_be_launched_is_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from unidl.cli.main import main

    assert main(["launch", "-n", "2", *words]) in (2, 12)
    assert said in capsys.readouterr().err
