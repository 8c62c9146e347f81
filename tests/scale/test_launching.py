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


def test_each_line_of_output_has_the_number_of_its_rank(tmp_path: Path) -> None:
    done = run(*LAUNCH, written(tmp_path, "print('of', rank, 'of', os.environ['WORLD_SIZE'], sys.argv[1])"), "--word")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["[0] of 0 of 2 --word", "[1] of 1 of 2 --word"]


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


def test_all_ranks_are_started_again_after_a_failure(tmp_path: Path) -> None:
    code = (
        "print('start', os.environ['UNIDL_RESTARTED'])\n"
        "if rank == '0' and os.environ['UNIDL_RESTARTED'] == '0': os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = run(*LAUNCH, "--restarts", "1", written(tmp_path, code))
    assert done.returncode == 0, done.stderr
    assert "rank 0 ended first, with signal SIGKILL" in done.stderr
    assert done.stdout.count("start 1") == 2


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
