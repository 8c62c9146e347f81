"""Registration of commands with the parser, and the options that commands share."""

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
"""Maps an option to the environment variable that holds the default of the core."""


def add_command(
    subparsers: Subparsers, name: str, *, summary: str, example: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    summary: one sentence, shown by `unidl --help` and by the command's --help. example: one command line per line.
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
    """Add --debug. default: argparse.SUPPRESS after a command, so that it does not override one given before it."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=default,
        help="show all log messages, and the full traceback of an error",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend; `applied` selects the backend before the command runs."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="jax, torch, tensorflow or a plugin's (default: UNIDL_BACKEND, then the first one installed)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device; `applied` makes it the default while the command runs."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, gpu, one such as gpu:1, or cpus or gpus for all of them (default: UNIDL_DEVICE, then auto)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision; `applied` makes it the default while the command runs."""
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help=f"auto, {', '.join(NAMES)}, or a plugin's (default: UNIDL_PRECISION, then float32)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add --trust, which allows loading a model that was not made by a unidl builder."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="also load models in Keras's own format, such as a .keras file. Use it only for files from a source you "
        "trust: Keras may run code that such a file names",
    )


def path(word: str) -> Path:
    """Parse a path."""
    if not word:
        raise argparse.ArgumentTypeError("the path is empty")
    return as_path(word)


def name_or_path(word: str) -> str:
    """Parse a name or a path."""
    return str(as_path(word)) if word.startswith("~") else word


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add --quiet, which limits stderr to warnings and errors."""
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors on stderr")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json, which prints only one JSON object, the result, on stdout."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_seed(parser: argparse.ArgumentParser, *, default: int = 0, said: bool = False) -> None:
    """Add --seed, an integer of at least 0. said: if True, the value is None unless the option is given."""
    parser.add_argument(
        "--seed",
        type=_seed,
        default=None if said else default,
        metavar="NUMBER",
        help=f"random seed, a whole number of at least 0 (default: {default})",
    )


@contextmanager
def applied(arguments: argparse.Namespace) -> Iterator[None]:
    """Select the backend, and set UNIDL_DEVICE and UNIDL_PRECISION from the options while a command runs.

    Raises `BackendError` if the backend cannot be selected. Does not import a framework.
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
        raise argparse.ArgumentTypeError(f"invalid seed {word!r}: expected a whole number of at least 0")
    return int(word)
