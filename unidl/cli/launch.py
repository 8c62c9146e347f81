"""`unidl launch`: start a command in several processes, which train one model together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from unidl.cli import options
from unidl.cli.numbers import positive_whole
from unidl.errors import UsageError

LOOPBACK = "127.0.0.1"


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "launch",
        summary="Start a command in several processes, which train one model together, each on a device of its own.",
        example="""unidl launch -n 2 train cnn --out runs/cnn
            unidl launch -n 4 --restarts 3 my_training.py""",
        run=run,
    )
    parser.add_argument("-n", "--processes", type=positive_whole, required=True, metavar="N", help="processes here")
    parser.add_argument(
        "--nodes", type=positive_whole, default=1, metavar="M", help="machines; start the command on each (default: 1)"
    )
    parser.add_argument("--node", type=int, default=0, metavar="I", help="the number of this machine, from 0")
    parser.add_argument(
        "--rendezvous", metavar="HOST:PORT", help="where rank 0 listens (default: a free port of 127.0.0.1)"
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="K",
        help="how often to start all processes again after one has failed; they go on from the newest checkpoint",
    )
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="a command of unidl, such as `train cnn`, a Python file, or a program, with its arguments",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start, wait."""
    from unidl.ranks.connecting import free_port
    from unidl.scale.launching import Layout, launch

    if not arguments.words:
        raise UsageError("Nothing to launch: add a command, such as `unidl launch -n 2 train cnn`.")
    if arguments.restarts < 0 or not 0 <= arguments.node < arguments.nodes:
        raise UsageError("Cannot use these arguments: --restarts counts from 0, and --node from 0 up to --nodes - 1.")
    if arguments.nodes > 1 and arguments.rendezvous is None:
        raise UsageError("Several machines need --rendezvous HOST:PORT, an address of the machine with --node 0.")
    host, port = LOOPBACK, 0
    if arguments.rendezvous is not None:
        host, _, number = arguments.rendezvous.rpartition(":")
        if not host or not number.isdigit():
            raise UsageError(f"Cannot use --rendezvous {arguments.rendezvous!r}: write HOST:PORT.")
        port = int(number)
    here = arguments.processes
    layout = Layout(here * arguments.nodes, here * arguments.node, here, host, port or free_port(host))
    return launch(command_of(arguments.words), layout, restarts=arguments.restarts)


def command_of(words: Sequence[str]) -> list[str]:
    """Return the program and its arguments for the words after `unidl launch`."""
    from unidl.cli.main import COMMANDS

    if words[0] in COMMANDS:
        return [sys.executable, "-m", "unidl", *words]
    return [sys.executable, *words] if words[0].endswith(".py") else list(words)
