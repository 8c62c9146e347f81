"""`unidl find-learning-rate`: a hundred steps in which the learning rate rises, and the rate that they suggest."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from unidl.cli import options
from unidl.cli.numbers import positive_number, positive_whole
from unidl.cli.searching import add_plot, add_subject, require_picture, subject


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "find-learning-rate",
        summary="Suggest a learning rate for a model on its data, by fastai's rules.",
        example="""unidl find-learning-rate cnn
            unidl find-learning-rate transfer --base runs/cnn --data folder --plot rates.png --json""",
        run=run,
    )
    add_subject(parser)
    parser.add_argument("--batch-size", type=positive_whole, metavar="N", help="rows a step")
    parser.add_argument("--lowest", type=positive_number, metavar="X", help="the first learning rate (default: 1e-7)")
    parser.add_argument("--highest", type=positive_number, metavar="X", help="the last one (default: 10)")
    parser.add_argument("--steps", type=positive_whole, metavar="N", help="steps from one to the other (default: 100)")
    add_plot(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search, print, draw."""
    from unidl.runs.training import loaded

    require_picture(arguments.plot)
    configuration = subject(arguments, arguments.batch_size)
    with contextlib.redirect_stdout(sys.stderr):  # where Keras tells of its downloads
        ready = loaded(configuration, Path("."), trust=bool(arguments.trust))
    said = {name: getattr(arguments, name) for name in ("lowest", "highest", "steps")}
    found = ready.trainer.find_learning_rate(
        ready.train,
        batch_size=configuration.batch_size,
        **{name: value for name, value in said.items() if value is not None},
    )
    if arguments.plot is not None:
        found.plot(arguments.plot)
    if arguments.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    elif found.suggestion is None:
        print(f"no learning rate can be suggested: the loss does not fall ({len(found.losses)} steps, {found.why})")
    else:
        print(f"learning rate {found.suggestion:.2g} ({len(found.losses)} steps, {found.why})")
    return 0
