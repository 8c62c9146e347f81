"""What the commands that search a setting of `unidl train` share: which model is meant, on what data."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import fraction, positive_whole
from unidl.cli.reading import add_reading
from unidl.models import builders
from unidl.runs.configuration import FOR_DATA, RunConfiguration, require_meaning

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = ("model", "data", "base", "weights", "image_size", "dropout", "augment", "lora_rank", "seed", *FOR_DATA)
"""The settings of a run that say what is trained."""


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Add the options of `unidl train` that say what is trained."""
    from unidl.cli.train import model_word

    parser.add_argument(
        "model", type=model_word, metavar="MODEL", help=f"as in `unidl train`: {', '.join(builders.names())}, ..."
    )
    parser.add_argument("--data", type=options.name_or_path, metavar="NAME", help="as in `unidl train`")
    parser.add_argument("--base", type=options.name_or_path, metavar="NAME", help="transfer: as in `unidl train`")
    options.add_trust(parser)
    parser.add_argument("--weights", type=options.name_or_path, metavar="NAME", help="transfer: as in `unidl train`")
    add_reading(parser)
    parser.add_argument("--augment", metavar="STEPS", help="as in `unidl train`")
    parser.add_argument("--lora-rank", type=positive_whole, metavar="N", help="transfer: as in `unidl train`")
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")
    parser.add_argument("--dropout", type=fraction, metavar="X", help="share of units dropped (default: 0)")
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_seed(parser, said=True)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def subject(arguments: argparse.Namespace, batch_size: int | None = None) -> RunConfiguration:
    """Return the run that is meant."""
    asked = {name: getattr(arguments, name) for name in SETTINGS} | {"batch_size": batch_size}
    require_meaning(asked | {"trust": arguments.trust})
    return RunConfiguration.of(**asked)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add --plot: a file for a picture."""
    parser.add_argument("--plot", type=options.path, metavar="FILE", help="draw the curve as a PNG, with matplotlib")


def require_picture(path: Path | None) -> None:
    """Raise `UsageError` if a picture is asked for that cannot be drawn."""
    if path is not None:
        from unidl.training.run_directory import require_plotting

        require_plotting()
