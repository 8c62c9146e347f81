"""`unidl plan`: which GPU for a model, how long, how much memory, what limits it; without that GPU."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import fraction, names, number_from_zero, positive_whole
from unidl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unidl.machine.data_sheets import DataSheet
    from unidl.planning.calibration import Calibration
    from unidl.planning.plan import Plan
    from unidl.planning.subject import Subject

WIDTH = 132
"""Width of the table when stdout is not a terminal."""
SETTINGS = ("data", "base", "dropout", "batch_size", "epochs")


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "plan",
        summary="Predict memory, time, energy and cost of a model on GPUs that need not be there; nothing is trained.",
        example="""unidl plan cnn
            unidl plan VGG16 --batch-size 64 --gpus "RTX 4090,H100 SXM,T4" --explain
            unidl plan transformer --backend jax --calibrate
            unidl plan transfer --base ResNet50 --data folder --epochs 5 --price 2.5
            unidl plan model.py:build --data my.npz --price "T4=0.35,L4=0.7" --json""",
        run=run,
    )
    parser.add_argument(
        "model",
        type=options.name_or_path,
        metavar="MODEL",
        help="as in `unidl train`, or a network of keras.applications, such as ResNet50, all of which is trained",
    )
    parser.add_argument("--data", type=options.name_or_path, metavar="NAME", help="as in `unidl train`")
    parser.add_argument("--base", type=options.name_or_path, metavar="NAME", help="transfer: as in `unidl train`")
    options.add_trust(parser)
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")
    parser.add_argument("--dropout", type=fraction, metavar="X", help="share of units dropped (default: 0)")
    parser.add_argument(
        "--batch-size", type=positive_whole, metavar="N", help="rows of a batch (default: the recipe's)"
    )
    parser.add_argument("--epochs", type=positive_whole, metavar="N", help="epochs of a run (default: the recipe's)")
    parser.add_argument(
        "--rows", type=positive_whole, metavar="N", help="rows of an epoch (default: those of the data)"
    )
    parser.add_argument(
        "--gpus", type=names, metavar="NAMES", help='GPUs, as in "RTX 4090,H100 SXM,T4" (default: all that are known)'
    )
    parser.add_argument("--gpu-file", type=options.path, metavar="FILE", help="figures of your own GPUs, in TOML")
    parser.add_argument(
        "--precision",
        dest="arithmetic",
        default="auto",
        metavar="NAME",
        help="as in `unidl train` (default: auto, the fastest one of each GPU)",
    )
    parser.add_argument(
        "--price",
        metavar="PRICES",
        help='price of an hour: one number for all, or "T4=0.35,H100 SXM=2.5"; none is built in',
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="count the memory of two small batches with the backend on this machine's CPU; takes a minute",
    )
    parser.add_argument("--inference", action="store_true", help="plan the forward pass in place of training")
    parser.add_argument("--layers", action="store_true", help="also print the layers that take most of the time")
    parser.add_argument("--explain", action="store_true", help="say what the figures mean for this model")
    options.add_backend(parser)
    options.add_json(parser)
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan. Return 0, also where no GPU can do the job."""
    from unidl.planning.plan import Job, plan
    from unidl.planning.subject import subject
    from unidl.precision import named, require_training
    from unidl.runs.variables import environment

    if arguments.arithmetic != "auto":
        precision = named(arguments.arithmetic, source="--precision")
        if not arguments.inference:
            require_training(precision)
    sheets = _sheets(arguments)
    prices = _prices(arguments.price, sheets)
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    # Shapes are the same everywhere, and the CPU is.
    with environment(UNIDL_DEVICE="cpu", UNIDL_PRECISION="float32"):
        found = subject(arguments.model, image_size=arguments.image_size, trust=arguments.trust, **settings)
    batch_size = arguments.batch_size or found.batch_size
    job = Job(
        found.cost,
        batch_size,
        arguments.rows or found.rows,
        (arguments.epochs or found.epochs) if not arguments.inference else 1,
        not arguments.inference,
        arguments.arithmetic,
        _calibration(arguments, found, batch_size),
    )
    made = plan(job, sheets, prices=prices)
    if arguments.json:
        from unidl.planning.as_json import to_json

        sys.stdout.write(json.dumps(to_json(made)) + "\n")
    else:
        _draw(made, arguments)
    return 0


def _calibration(arguments: argparse.Namespace, found: Subject, batch_size: int) -> Calibration | None:
    if not arguments.calibrate:
        return None
    if arguments.inference or found.configuration is None:
        what = "--inference" if arguments.inference else f"{arguments.model}, a network of keras.applications"
        raise UsageError(
            f"Cannot use --calibrate with {what}: it counts the memory of training steps of what `unidl train` trains. "
            "Leave it out."
        )
    from unidl import registry
    from unidl.machine.memory import memory
    from unidl.planning.calibration import batches_for, calibrate
    from unidl.planning.memory import memory_need
    from unidl.precision import FLOAT32

    needs = [memory_need(found.cost, FLOAT32, rows).total for rows in (1, 2)]
    sizes = batches_for(batch_size, needs[1] - needs[0], memory().available_bytes)
    return calibrate(found.configuration, registry.current().name, sizes, trust=arguments.trust)


def _sheets(arguments: argparse.Namespace) -> tuple[DataSheet, ...]:
    from unidl.machine.data_sheets import chosen, data_sheets

    ours = data_sheets()
    own = () if arguments.gpu_file is None else data_sheets(arguments.gpu_file)
    known = (*own, *(sheet for sheet in ours if sheet.name not in {one.name for one in own}))
    if arguments.gpus is None:
        return own or ours
    return chosen(arguments.gpus, known)


def _prices(words: str | None, sheets: Sequence[DataSheet]) -> dict[str, float]:
    """Return prices of an hour by names of GPUs. Raises `UsageError`."""
    from unidl.machine.data_sheets import chosen

    if words is None:
        return {}
    if "=" not in words:
        price = _price(words)
        return {sheet.name: price for sheet in sheets}
    found: dict[str, float] = {}
    for word in words.split(","):
        name, equals, price = word.partition("=")
        if not equals:
            raise UsageError(f'Cannot read --price {words!r}: {word!r} has no "=". Write NAME=PRICE,NAME=PRICE.')
        [sheet] = chosen([name], sheets)
        found[sheet.name] = _price(price)
    return found


def _price(word: str) -> float:
    try:
        return number_from_zero(word.strip())
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"Cannot read --price: {error}.") from error


def _draw(made: Plan, arguments: argparse.Namespace) -> None:
    from unidl.cli.console import plain_console
    from unidl.planning import explaining, wording
    from unidl.tables import on_terminal

    console = plain_console(None if sys.stdout.isatty() else WIDTH)
    console.print(wording.subject_line(made))
    console.print()
    console.print(on_terminal(wording.gpu_table(made)))
    console.print(f"\n{wording.BEST} {made.reason}" if made.best is not None else f"\n{made.reason}")
    console.print()
    console.print(on_terminal(wording.memory_table(made.job.cost, made.job.batch_size, made.job.calibration)))
    if arguments.layers and made.best is not None:
        console.print(f"\nThe layers that take the most time on {made.rows[made.best].sheet.name}:")
        console.print(on_terminal(wording.layer_table(made.rows[made.best])))
    for paragraph in explaining.explanation(made) if arguments.explain else ():
        console.print(f"\n{paragraph}")
    console.print("\nWhere the figures are from:", style="bold")
    for line in wording.origins(made):
        console.print(f"  {line}.")
