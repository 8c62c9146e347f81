"""How a command enters the parser, and the options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from unidl.paths import as_path
from unidl.precision import NAMES
from unidl.runs.variables import environment

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

ENVIRONMENT = {"device": "UNIDL_DEVICE", "precision": "UNIDL_PRECISION"}
"""Option to the variable that the core reads when a program says nothing."""


def add_command(
    subparsers: Subparsers, name: str, *, summary: str, example: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    summary: one sentence, for `unidl --help` and for the command's own. example: command lines, one a line.
    run: returns the exit code.
    """
    lines = [f"  {line.strip()}" for line in example.strip().splitlines()]
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog="\n".join(["examples:" if len(lines) > 1 else "example:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_debug(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run, command_parser=parser)
    return parser


def add_debug(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    """Add --debug. default: argparse.SUPPRESS after a command, so that it does not undo the one before it."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=default,
        help="show every message, and the traceback of an error instead of its one line",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend; `applied` chooses it before the command runs."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="jax, torch, tensorflow or another (default: UNIDL_BACKEND, then the first one installed)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device; `applied` makes it the default of everything that the command does."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, gpu, or one by number such as gpu:1 (default: UNIDL_DEVICE, then auto)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision; `applied` makes it the default of everything that the command does."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help=f"auto, {', '.join(NAMES)}, or one of a plugin (default: UNIDL_PRECISION, then float32)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add --trust: a word for a model that no builder of unidl made."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load a model in Keras's own words as well, such as a .keras file: you know who made it, since Keras does "
        "what the file says",
    )


def path(word: str) -> Path:
    """A path on the command line."""
    if not word:
        raise argparse.ArgumentTypeError("the path is empty")
    return as_path(word)


def name_or_path(word: str) -> str:
    """A name or a path on the command line."""
    return str(as_path(word)) if word.startswith("~") else word


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add --quiet: nothing but warnings and errors on stderr."""
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr but warnings and errors")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json: the result as one JSON object on stdout, and nothing else there."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_seed(parser: argparse.ArgumentParser, *, default: int = 0, said: bool = False) -> None:
    """Add --seed, a whole number from 0. said: whether it is None where nobody says it."""
    parser.add_argument(
        "--seed",
        type=_seed,
        default=None if said else default,
        metavar="NUMBER",
        help=f"whole number from 0 that decides every random draw (default: {default})",
    )


@contextmanager
def applied(arguments: argparse.Namespace) -> Iterator[None]:
    """Choose the backend, and keep UNIDL_DEVICE and UNIDL_PRECISION as the options say while a command runs.

    Raises `BackendError` if the backend cannot be chosen. Imports no framework.
    """
    from unidl import registry

    if isinstance(getattr(arguments, "model", None), str):
        registry.expect(arguments.model)
    if getattr(arguments, "backend", None):
        registry.use(arguments.backend, source="--backend")
    with environment(**{variable: getattr(arguments, option, None) for option, variable in ENVIRONMENT.items()}):
        yield


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"invalid seed {word!r}: a whole number from 0 is needed")
    return int(word)
