"""`unidl compare`: training speed of each backend, against stock Keras and hand-written code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import names, positive_number, positive_whole
from unidl.models import builders
from unidl.precision import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unidl.compare.measure import Groups, Plan
    from unidl.compare.results import Run

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
NOTHING_MEASURED = 1


def register(subparsers: options.Subparsers) -> None:
    """Add the command."""
    parser = options.add_command(
        subparsers,
        "compare",
        summary="Measure how fast each backend trains on this machine, against stock Keras and hand-written code.",
        example="""unidl compare
            unidl compare --models cnn,lstm --backends jax,torch --batch-size 128,1024 --rounds 7 --out results
            unidl compare --data path/to/folder_of_class_folders --models cnn --batch-size 32
            unidl compare --from results/results.json
            unidl compare --choose""",
        run=run,
    )
    _add_what(parser)
    parser.add_argument(
        "--rounds", type=positive_whole, default=5, metavar="NUMBER", help="timed rounds of each cell (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=positive_number, default=1.0, metavar="NUMBER", help="duration of a round (default: 1.0)"
    )
    parser.add_argument(
        "--rows", type=positive_whole, metavar="NUMBER", help="rows per epoch (default: depends on the model)"
    )
    parser.add_argument(
        "--out", type=options.path, metavar="FOLDER", help="also write results.json, report.md and chart.png to FOLDER"
    )
    parser.add_argument(
        "--from",
        dest="files",
        nargs="+",
        type=options.path,
        metavar="FILE",
        help="report on results.json files of earlier comparisons instead of measuring",
    )
    parser.add_argument(
        "--choose",
        action="store_true",
        help="time only unidl's own loop in short rounds and store the backend that UNIDL_BACKEND=auto selects",
    )
    options.add_json(parser)
    options.add_quiet(parser)


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        type=names,
        metavar="NAMES",
        help=f"comma-separated: {', '.join(builders.names())}, gru, resnet (default: cnn,lstm,transfer)",
    )
    parser.add_argument(
        "--data",
        type=options.name_or_path,
        metavar="PATH",
        help="time unidl's loop alone, on this data instead of made-up arrays, with the share of time that its steps "
        "wait for data: a folder whose images are read when they are needed, or another name for load_data; with it, "
        "--models is cnn by default",
    )
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that its images get")
    parser.add_argument("--backends", type=names, metavar="NAMES", help="comma-separated (default: all installed)")
    options.add_device(parser)
    # Not named `precision`: `options.applied` would make it the precision of this process.
    parser.add_argument(
        "--precision",
        dest="precisions",
        type=names,
        metavar="NAMES",
        help=f"comma-separated: {', '.join(NAMES)} (default: UNIDL_PRECISION, then float32)",
    )
    parser.add_argument(
        "--batch-size",
        dest="batch_sizes",
        type=_whole_numbers,
        metavar="NUMBERS",
        help="comma-separated (default: 128; 16 for transfer)",
    )
    parser.add_argument(
        "--against",
        type=names,
        default=["native", "keras"],
        metavar="NAMES",
        help="comma-separated: native, keras; or none (default: native,keras)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure or read results, then report. Return 1 if no cell could be measured, 130 after Ctrl-C."""
    from unidl.errors import UsageError

    if arguments.choose and (arguments.files or arguments.out):
        raise UsageError("Cannot use --choose with --from or --out: its result is stored for UNIDL_BACKEND=auto.")
    if arguments.data and (arguments.choose or arguments.files):
        raise UsageError("Cannot use --data with --choose or --from: it is for a new measurement. Leave it out.")
    if arguments.image_size and not arguments.data:
        raise UsageError("Cannot use --image-size without --data, whose images get that size. Leave it out.")
    if arguments.files:
        return _draw_again(arguments)
    return _choose(arguments) if arguments.choose else _compare(arguments)


def _draw_again(arguments: argparse.Namespace) -> int:
    from unidl.compare.results import read

    runs = [run for path in arguments.files for run in read(path)]
    _report(runs, arguments)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from unidl.compare.measure import Plan
    from unidl.compare.output import write_results
    from unidl.reports import require_report_folder

    groups = _groups(arguments, against=[name for name in arguments.against if name != "none"])
    out = arguments.out
    if out is not None:
        require_report_folder(out)
    plan = Plan(arguments.rounds, arguments.seconds, arguments.rows)
    keep = None if out is None else lambda run: write_results(out, [run])
    found = _measured(groups, plan, arguments, keep)
    _report([found], arguments)
    return _exit_code(found)


def _choose(arguments: argparse.Namespace) -> int:
    import json

    from unidl.compare.choosing import ROUNDS, SECONDS, keep
    from unidl.compare.measure import Plan
    from unidl.errors import UsageError
    from unidl.fastest import cache_file, decide

    groups = _groups(arguments, against=(), features=False)
    if len({group.model for group in groups}) < len(groups):
        raise UsageError("Cannot use --choose with several precisions or batch sizes: it stores one result per model.")
    plan = Plan(ROUNDS, min(SECONDS, arguments.seconds), arguments.rows, extras=False)
    found = _measured(groups, plan, arguments)
    if found.interrupted:
        return INTERRUPTED
    failures = [one for one in found.measurements if one.failure]
    for one in failures:
        sys.stderr.write(f"unidl: {one.cell.model}, {one.cell.title}: failed: {one.failure}\n")
    decision = decide(keep(found, _asked_device()))
    if decision is None:
        sys.stderr.write("unidl: no backend could be measured on every model; none was chosen\n")
        return NOTHING_MEASURED
    if arguments.json:
        sys.stdout.write(json.dumps({"backend": decision.backend, "reason": str(decision)}) + "\n")
    else:
        sys.stdout.write(f"UNIDL_BACKEND=auto selects {decision.backend}: {decision}\nsaved to {cache_file()}\n")
    return 0


def _groups(arguments: argparse.Namespace, against: Sequence[str], *, features: bool = True) -> Groups:
    from unidl.compare.request import requested_groups

    return requested_groups(
        models=arguments.models,
        backends=arguments.backends,
        device=arguments.device,
        precisions=arguments.precisions,
        batch_sizes=arguments.batch_sizes,
        against=against,
        features=features,
        data=_place_of(arguments.data),
        image_size=arguments.image_size,
    )


def _place_of(data: str | None) -> str | None:
    """A path as it is from any directory, a name as it is."""
    return str(Path(data).resolve()) if data is not None and Path(data).exists() else data


def _measured(
    groups: Groups, plan: Plan, arguments: argparse.Namespace, keep: Callable[[Run], None] | None = None
) -> Run:
    from unidl.compare.measure import measure
    from unidl.compare.progress import comparison_progress

    return measure(groups, plan, comparison_progress(quiet=arguments.quiet), keep=keep)


def _report(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    import json

    from unidl.cli.console import report_console
    from unidl.compare.output import write_all
    from unidl.compare.report import draw
    from unidl.compare.results import to_json

    if arguments.json:
        sys.stdout.write(json.dumps(to_json(runs), indent=2, allow_nan=False) + "\n")
    else:
        draw(runs, report_console())
    if arguments.out is not None:
        for line in write_all(arguments.out, runs):
            sys.stderr.write(f"unidl: {line}\n")


def _exit_code(found: Run) -> int:
    if found.interrupted:
        return INTERRUPTED
    return 0 if any(one.failure is None for one in found.measurements) else NOTHING_MEASURED


def _asked_device() -> str:
    import os

    return os.environ.get("UNIDL_DEVICE") or "auto"


def _whole_numbers(words: str) -> list[int]:
    return list(dict.fromkeys(positive_whole(word.strip()) for word in words.split(",")))
