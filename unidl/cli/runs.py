"""`unidl runs`: list the runs of a folder, sort and filter them, and compare two."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options

if TYPE_CHECKING:
    from unidl.runs.listing import FoundRun
    from unidl.tables import Table

log = logging.getLogger("unidl")

SETTINGS = ("model", "data", "backend", "epochs")
"""Settings that the table shows."""
METRICS = 3
"""Maximum number of metrics that the table shows."""


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "runs",
        summary="List saved runs with their settings and the metrics of their last epoch; compare two of them.",
        example="""unidl runs
            unidl runs experiments --sort val_loss --where backend=jax,model=cnn
            unidl runs --compare runs/a runs/b""",
        run=run,
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=options.path,
        metavar="FOLDER",
        help="folders that hold runs, up to four levels deep (default: runs)",
    )
    parser.add_argument(
        "--sort",
        metavar="NAME",
        help="a metric such as val_loss, a setting such as epochs, or saved; smallest first (default: by path)",
    )
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    parser.add_argument(
        "--where",
        type=conditions,
        default={},
        metavar="NAME=VALUE",
        help="only runs with these settings, with commas between them",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=options.path,
        metavar="RUN",
        help="show the settings in which two runs differ, and their metrics",
    )
    options.add_json(parser)


def conditions(words: str) -> dict[str, str]:
    """Parse NAME=VALUE pairs."""
    pairs = [pair.partition("=") for pair in words.split(",")]
    if not all(name and sign for name, sign, _ in pairs):
        raise argparse.ArgumentTypeError(f"invalid conditions {words!r}: expected NAME=VALUE, as in backend=jax")
    return {name.strip(): value.strip() for name, _, value in pairs}


def run(arguments: argparse.Namespace) -> int:
    """Find, sort, print."""
    from unidl.cli.console import report_console
    from unidl.errors import UsageError
    from unidl.runs import listing
    from unidl.tables import on_terminal

    if arguments.compare is not None:
        if arguments.folders or arguments.where or arguments.sort:
            raise UsageError("Cannot use --compare with folders, --sort or --where. Leave those out.")
        one, other = map(listing.read_found_run, arguments.compare)
        if arguments.json:
            print(json.dumps({"runs": [one.to_json(), other.to_json()]}))
        else:
            report_console().print(on_terminal(_comparison(one, other)))
        return 0
    found, failures = listing.find_runs(arguments.folders or [Path("runs")])
    for failure in failures:
        log.warning("%s", failure)
    found = listing.where(found, arguments.where)
    if arguments.sort is not None:
        found = listing.sorted_by(found, arguments.sort)
    if arguments.reverse:
        found.reverse()
    if arguments.json:
        print(json.dumps({"runs": [one.to_json() for one in found]}))
    elif found:
        report_console().print(on_terminal(_table(found)))
    else:
        log.info("no runs; train one with: unidl train cnn")
    return 0


def _table(runs: Sequence[FoundRun]) -> Table:
    """Return one line per run."""
    from unidl.runs.listing import value_of
    from unidl.tables import Table

    settings = [name for name in SETTINGS if any(run.settings.get(name) is not None for run in runs)]
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    # Those of the validation say more, if there are any.
    metrics = ([name for name in metrics if name.startswith("val_")] or metrics)[:METRICS]
    rows = tuple((str(run.path), *(_cell(value_of(run, name)) for name in (*settings, *metrics))) for run in runs)
    words = len([name for name in settings if name != "epochs"])
    headings = ("run", *settings, *metrics)
    return Table(tuple(name.replace("_", " ") for name in headings), rows, (False,) * len(rows), names=1 + words)


def _comparison(one: FoundRun, other: FoundRun) -> Table:
    from unidl.runs.listing import differences
    from unidl.tables import Table

    rows = tuple((name.replace("_", " "), _cell(a), _cell(b)) for name, a, b in differences(one, other))
    return Table(("", str(one.path), str(other.path)), rows, (False,) * len(rows), names=1)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    return str(value)
