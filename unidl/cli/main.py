"""The `unidl` entry point: dispatch to a command and turn every error into one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from unidl import __version__
from unidl.cli import options
from unidl.cli.option_words import in_options
from unidl.errors import UnidlError

COMMANDS = (
    *("train", "preview", "find-learning-rate", "find-batch-size", "generate", "evaluate", "predict", "export"),
    *("compare", "runs", "report", "verify", "plan", "profile", "doctor", "launch"),
)
"""The commands, in the order in which --help lists them; each is a module of `unidl.cli`."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of the output has exited, as in `unidl ... | head -1`."""
OUTPUT_FAILED = 74
"""EX_IOERR of sysexits.h, for example a full disk with `unidl ... > file`."""
UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: a bug in unidl, not a user error."""

log = logging.getLogger("unidl")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. argv: arguments after `unidl`; None uses `sys.argv`."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        exit_code = _parse_and_run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        _discard_output()
        sys.stderr.write(f"unidl: cannot write the output: {error}\n")
        return OUTPUT_FAILED
    return exit_code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. Imports only the command modules, which are cheap."""
    parser = argparse.ArgumentParser(
        prog="unidl",
        description="Write a model and its training once; run it on JAX, PyTorch or TensorFlow.",
        epilog="examples:\n  unidl doctor\n  unidl COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unidl {__version__}")
    options.add_debug(parser, default=False)
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"unidl.cli.{name.replace('-', '_')}").register(subparsers)
    return parser


def _discard_output() -> None:
    """Point stdout at the null device: Python flushes it again at exit and would report the failed write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse_and_run(words: list[str]) -> int:
    parser = build_parser()
    try:
        arguments = _parse(parser, words)
    except SystemExit as stop:  # argparse has printed the help, the version or the usage error
        return int(stop.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        getattr(arguments, "prepare", lambda _: None)(arguments)
    except UnidlError as error:
        _report(in_options(str(error), arguments.command_parser), arguments)
        return error.exit_code
    with _messages_on_stderr(arguments):
        return _run(arguments)


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    # Options before the command take no value, so the first word without a dash is the command.
    command = next((word for word in words if not word.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        parser.error(_unknown_command(command))
    arguments, rest = parser.parse_known_args(words)
    if rest:
        # argparse would show the usage of `unidl` here instead of the command's.
        getattr(arguments, "command_parser", parser).error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def _unknown_command(command: str) -> str:
    import difflib

    close = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"unknown command '{command}'{hint} Commands: {', '.join(COMMANDS)}."


def _run(arguments: argparse.Namespace) -> int:
    try:
        with options.applied(arguments):
            return arguments.run(arguments)
    except KeyboardInterrupt:
        _report("interrupted", arguments)
        return INTERRUPTED
    except UnidlError as error:
        _report(in_options(str(error), arguments.command_parser), arguments)
        _tell_ranks(error)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC):
            raise  # not a bug in unidl: `main` reports it
        said = str(error).strip().partition("\n")[0]
        _report(f"unexpected {type(error).__name__}{': ' if said else ''}{said}", arguments)
        _tell_ranks(error)
        sys.stderr.write("This is a bug: run again with --debug for the traceback, and please report it.\n")
        return UNEXPECTED


def _tell_ranks(error: Exception) -> None:
    """Tell the other processes of a run of several, which would wait for this one."""
    from unidl.ranks.joining import ranks

    own = ranks()
    if own is not None:
        own.fail(error)


def _report(message: str, arguments: argparse.Namespace) -> None:
    if arguments.debug:
        traceback.print_exc()
    sys.stderr.write(f"unidl: {message}\n")


class _InOptions(logging.Formatter):
    """Writes messages of the library in the words of a command."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__("unidl: %(message)s")
        self._parser = parser

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a message."""
        return in_options(super().format(record), self._parser)


@contextmanager
def _messages_on_stderr(arguments: argparse.Namespace) -> Iterator[None]:
    """Send the library's log to stderr while a command runs; stdout is for results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_InOptions(arguments.command_parser))
    before = log.level, log.propagate
    if arguments.debug:
        log.setLevel(logging.DEBUG)
    else:
        log.setLevel(logging.WARNING if getattr(arguments, "quiet", False) else logging.INFO)
    # TensorFlow's absl adds a handler to the root logger; with propagation every line would appear twice.
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
