"""The command line as a person or a script meets it: what it prints where, and which code it exits with."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

import unidl
from unidl.cli import main as cli
from unidl.cli import options
from unidl.precision import NAMES


def run_unidl(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unidl", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


FAILING_COMMAND = """
    import sys, types
    from unidl.cli import main, options

    def run(arguments):
        {body}

    def register(subparsers):
        parser = options.add_command(subparsers, "fail", summary="Fail.", example="unidl fail", run=run)
        options.add_quiet(parser)
        options.add_backend(parser)
        options.add_device(parser)
        options.add_precision(parser)

    command = types.ModuleType("unidl.cli.fail")
    command.register = register
    sys.modules["unidl.cli.fail"] = command
    main.COMMANDS = ("fail",)
    sys.exit(main.main())
"""


def program(body: str, *words: str) -> list[str]:
    """The command line of a process whose only command is `fail`, which runs `body`."""
    return [sys.executable, "-c", textwrap.dedent(FAILING_COMMAND).format(body=body), *words]


def run_failing(body: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = program(body, *(words or ("fail",)))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_into(stdout: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run with stdout as most people have it, buffered, going to a file descriptor."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


def test_the_version_is_printed_on_stdout():
    answer = run_unidl("--version")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"unidl {unidl.__version__}\n", "")


def test_without_a_command_the_help_goes_to_stderr_as_a_usage_error():
    answer = run_unidl()
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("usage: unidl ")
    assert "doctor" in answer.stderr


def test_help_lists_every_command():
    answer = run_unidl("--help")
    assert answer.returncode == 0
    for name in cli.COMMANDS:
        assert f"\n    {name} " in answer.stdout or f"\n    {name}\n" in answer.stdout, (
            "the help of a long name is below"
        )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_a_command_has_a_sentence_and_an_example_to_copy(name: str):
    answer = run_unidl(name, "--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"usage: unidl {name} ")
    assert "." in answer.stdout.split("\n\n")[1]
    assert f"\n  unidl {name}" in answer.stdout.partition("\nexample")[2]


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant():
    answer = run_unidl("docter", "--json")
    assert answer.returncode == 2
    assert "usage: unidl " in answer.stderr
    assert "unknown command 'docter'; did you mean 'doctor'?" in answer.stderr


def test_a_command_like_no_other_is_answered_with_the_list():
    answer = run_unidl("--debug", "xyzzy")
    assert answer.returncode == 2
    assert f"unknown command 'xyzzy'. Commands: {', '.join(cli.COMMANDS)}." in answer.stderr


def test_an_unknown_option_shows_the_usage_of_its_command():
    answer = run_unidl("doctor", "--jsn")
    assert answer.returncode == 2
    assert "usage: unidl doctor " in answer.stderr
    assert "unrecognized arguments: --jsn" in answer.stderr


def test_an_error_of_ours_is_its_message_and_its_exit_code():
    answer = run_failing("from unidl.errors import DeviceError; raise DeviceError('no gpu:9\\nuse cpu')")
    assert (answer.returncode, answer.stdout, answer.stderr) == (4, "", "unidl: no gpu:9\nuse cpu\n")


@pytest.mark.parametrize("words", [("fail", "--debug"), ("--debug", "fail")])
def test_debug_adds_the_traceback_and_keeps_the_exit_code(words: tuple[str, ...]):
    answer = run_failing("from unidl.errors import DeviceError; raise DeviceError('no gpu:9')", *words)
    assert answer.returncode == 4
    assert "Traceback" in answer.stderr
    assert answer.stderr.endswith("unidl: no gpu:9\n")


def test_an_unexpected_error_is_one_line_and_a_hint():
    answer = run_failing("raise TypeError('first line\\nsecond line')")
    assert answer.returncode == 70
    assert answer.stderr == (
        "unidl: unexpected TypeError: first line\nThis is a bug: run again with --debug for the traceback, and "
        "please report it.\n"
    )


def test_control_c_is_no_traceback():
    answer = run_failing("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")
    assert (answer.returncode, answer.stderr) == (128 + signal.SIGINT, "unidl: interrupted\n")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_goes_away_is_no_error_message(size: int):
    """`unidl ... | head -1`: the small output breaks at the last flush, the large one while it is written."""
    body = f"sys.stdout.write('x' * {size}); return 0"
    read_end, write_end = os.pipe()
    os.close(read_end)
    answer = run_into(write_end, program(body, "fail"))
    os.close(write_end)
    assert (answer.returncode, answer.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_is_not_reported_as_a_bug(size: int):
    command = program(f"sys.stdout.write('x' * {size}); return 0", "fail")
    with open("/dev/full", "w") as full:
        answer = run_into(full.fileno(), command)
    assert answer.returncode == 74
    assert answer.stderr.startswith("unidl: cannot write the output: ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["unidl: information", "unidl: warning"]),
        (("--quiet",), ["unidl: warning"]),
        (("--debug",), ["unidl: detail", "unidl: information", "unidl: warning"]),
    ],
)
def test_messages_go_to_stderr_once_and_as_far_as_they_are_wanted(words: tuple[str, ...], expected: list[str]):
    body = (
        "import logging; logging.basicConfig(); log = logging.getLogger('unidl'); "
        "log.debug('detail'); log.info('information'); log.warning('warning'); return 0"
    )
    answer = run_failing(body, "fail", *words)
    assert answer.returncode == 0
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == expected


def test_options_reach_the_core():
    body = (
        "import os; from unidl import registry; "
        "chosen = [row.name for row in registry.backends() if row.selected]; "
        "words = [*chosen, os.environ['UNIDL_DEVICE'], os.environ['UNIDL_PRECISION']]; "
        "sys.stdout.write(' '.join(words)); return 0"
    )
    name = os.environ["UNIDL_BACKEND"]
    words = ("fail", "--backend", name, "--device", "gpu:3", "--precision", "tf32")
    answer = run_failing(body, *words)
    assert answer.stdout == f"{name} gpu:3 tf32", answer.stderr


def test_an_unknown_backend_ends_the_command_before_it_runs():
    answer = run_failing("sys.stdout.write('ran'); return 0", "fail", "--backend", "jaxx")
    assert answer.returncode == 3
    assert answer.stdout == ""
    assert answer.stderr.startswith("unidl: Unknown backend 'jaxx'")


def test_a_call_from_python_leaves_environment_and_logging_as_they_were(monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []

    def run(_: argparse.Namespace) -> int:
        seen.extend([os.environ["UNIDL_DEVICE"], os.environ["UNIDL_PRECISION"], len(log.handlers)])
        return 5

    def register(subparsers: options.Subparsers) -> None:
        parser = options.add_command(subparsers, "peek", summary="Look.", example="unidl peek", run=run)
        options.add_device(parser)
        options.add_precision(parser)

    log = logging.getLogger("unidl")
    before = (log.level, log.propagate, list(log.handlers))
    monkeypatch.setitem(sys.modules, "unidl.cli.peek", SimpleNamespace(register=register))
    monkeypatch.setattr(cli, "COMMANDS", ("peek",))
    monkeypatch.delenv("UNIDL_PRECISION", raising=False)
    monkeypatch.setenv("UNIDL_DEVICE", "cpu")
    assert cli.main(["peek", "--device", "gpu", "--precision", "tf32"]) == 5
    assert seen == ["gpu", "tf32", len(before[2]) + 1]
    assert os.environ["UNIDL_DEVICE"] == "cpu"
    assert "UNIDL_PRECISION" not in os.environ
    assert (log.level, log.propagate, list(log.handlers)) == before


def test_the_help_names_every_precision():
    """Whoever asks for --help looks for the word to type."""
    parser = argparse.ArgumentParser()
    options.add_precision(parser)
    for name in NAMES:
        assert name in parser.format_help()


@pytest.mark.parametrize("word", ["-1", "1.5", "one", ""])
def test_a_seed_that_is_no_whole_number_is_a_usage_error(word: str, capsys: pytest.CaptureFixture[str]):
    parser = argparse.ArgumentParser()
    options.add_seed(parser)
    assert parser.parse_args(["--seed", "12"]).seed == 12
    with pytest.raises(SystemExit) as stop:
        parser.parse_args([f"--seed={word}"])
    assert stop.value.code == 2
    assert "expected a whole number of at least 0" in capsys.readouterr().err
