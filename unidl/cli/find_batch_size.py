"""`unidl find-batch-size`: the largest batches that fit into the memory, and the fastest ones."""

from __future__ import annotations

import argparse
import json
import logging
import os
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import positive_whole
from unidl.cli.searching import add_subject, subject

if TYPE_CHECKING:
    from unidl.runs.batch_sizes import BatchSizes, Tried

log = logging.getLogger("unidl")

SHARE = 0.8
"""Of the main memory that is free now: what a trial may take, so that the system does not run out of it."""


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "find-batch-size",
        summary="Find the largest batches that fit into the memory, and the fastest ones; each size in a process.",
        example="""unidl find-batch-size cnn
            unidl find-batch-size transfer --base runs/cnn --data folder --bisect --json""",
        run=run,
    )
    add_subject(parser)
    parser.add_argument("--first", type=positive_whole, default=8, metavar="N", help="the first size (default: 8)")
    parser.add_argument(
        "--largest", type=positive_whole, default=4096, metavar="N", help="sizes above it are not tried (default: 4096)"
    )
    parser.add_argument("--bisect", action="store_true", help="try sizes between the last that fits and the next one")
    parser.add_argument(
        "--most-memory",
        type=positive_whole,
        metavar="MIB",
        help="main memory that a trial may take, in MiB (default: four fifths of what is free)",
    )
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Try, print."""
    from unidl import registry
    from unidl.machine.memory import memory
    from unidl.runs.batch_sizes import in_a_process, search_batch_size

    configuration = subject(arguments)
    free_bytes = memory().available_bytes
    most_bytes = None if free_bytes is None else int(SHARE * free_bytes)
    if arguments.most_memory is not None:
        most_bytes = arguments.most_memory * 2**20
    where = {
        "backend": registry.choice()[0].name,
        "device": os.environ.get("UNIDL_DEVICE"),
        "precision": os.environ.get("UNIDL_PRECISION"),
    }
    attempt = in_a_process(configuration, where, trust=bool(arguments.trust), most_bytes=most_bytes)
    found = search_batch_size(
        attempt, first=arguments.first, largest=arguments.largest, bisect=arguments.bisect, tell=_tell
    )
    print(json.dumps(found.to_json()) if arguments.json else _said(found))
    return 0


def _tell(one: Tried) -> None:
    log.info("%s", _line(one))


def _line(one: Tried) -> str:
    if one.failure is not None:
        return f"batches of {one.batch_size}: {one.failure}"
    peak = "" if one.peak_bytes is None else f", {one.peak_bytes / 2**20:,.0f} MiB"
    return f"batches of {one.batch_size}: {one.rows_per_second:,.0f} rows/s{peak}"


def _said(found: BatchSizes) -> str:
    if found.largest is None:
        return "no size fits into the memory"
    most = "" if any(not one.fits for one in found.tried) else ", and larger ones may"
    return f"largest that fits: {found.largest}{most}; fastest: {found.fastest}"
