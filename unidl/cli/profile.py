"""`unidl profile`: where the time of a training step goes, layer by layer."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import positive_whole

if TYPE_CHECKING:
    from unidl.planning.profile import Limits
    from unidl.training import Trainer

WIDTH = 150
"""Width of the table when stdout is not a terminal."""


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "profile",
        summary="Show where the time of a training step goes, layer by layer, and how near each is to the limits.",
        example="""unidl profile cnn
            unidl profile lstm --backend torch --batch-size 64 --png lstm.png
            unidl profile model.py:build --data my.npz --json""",
        run=run,
    )
    parser.add_argument("model", type=options.name_or_path, metavar="MODEL", help="as in `unidl train`")
    parser.add_argument("--data", type=options.name_or_path, metavar="NAME", help="as in `unidl train`")
    parser.add_argument("--base", type=options.name_or_path, metavar="NAME", help="transfer: as in `unidl train`")
    options.add_trust(parser)
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")
    parser.add_argument(
        "--batch-size", type=positive_whole, metavar="N", help="rows of a batch (default: the recipe's)"
    )
    parser.add_argument(
        "--png", type=options.path, metavar="FILE", help="also draw the roofline, with the layers on it"
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_json(parser)
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train for a few steps, print."""
    from pathlib import Path

    from unidl.planning.profile import profile, to_json
    from unidl.runs.configuration import RunConfiguration, require_meaning
    from unidl.runs.training import loaded

    asked = {name: getattr(arguments, name) for name in ("data", "base", "image_size", "batch_size")}
    given = {name: value for name, value in asked.items() if value is not None}
    require_meaning({"model": arguments.model, "trust": arguments.trust, **given})
    configuration = RunConfiguration.of(model=arguments.model, **given)
    ready = loaded(configuration, Path("."), trust=arguments.trust)
    made = profile(ready.trainer, ready.train, configuration.batch_size, _limits(ready.trainer))
    if arguments.png is not None:
        from unidl.planning.roofline_figure import write_figure

        write_figure(made, arguments.png)
    if arguments.json:
        sys.stdout.write(json.dumps(to_json(made)) + "\n")
        return 0
    from unidl.cli.console import plain_console
    from unidl.planning import profile_wording as wording
    from unidl.tables import on_terminal

    console = plain_console(None if sys.stdout.isatty() else WIDTH)
    console.print(wording.title(made))
    console.print()
    console.print(on_terminal(wording.layer_table(made)))
    for line in wording.notes(made):
        console.print(f"  {line}.")
    return 0


def _limits(trainer: Trainer) -> Limits | None:
    """Return what `unidl doctor --measure` has found for this device; None if it has not run."""
    from unidl.machine.rate_history import best
    from unidl.planning.profile import Limits

    where = trainer.device.id, trainer.device.name or None
    found = [best(*where, what, trainer.precision.name) for what in ("matrix product", "convolution")]
    moved = [best(*where, what, "float32") for what in ("copy", "read")]
    if not any(found) or not any(moved):
        return None
    return Limits(
        max(filter(None, found)), max(filter(None, moved)), "the best that `unidl doctor --measure` has found"
    )
