"""The options of `unidl train` that say how data is read."""

from __future__ import annotations

import argparse

from unidl.cli.numbers import positive_whole, whole


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading images, clips and tables."""
    parser.add_argument("--workers", type=whole, metavar="N", help="threads that decode images (default: one a core)")
    parser.add_argument(
        "--processes",
        action=argparse.BooleanOptionalAction,
        help="decode images in as many processes as there are workers, in place of threads",
    )
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        help="what becomes of an image that cannot be read; for one that is skipped, another of its class stands in",
    )
    parser.add_argument("--frames", type=positive_whole, metavar="N", help="frames to take of each clip (default: 16)")
    parser.add_argument("--target", "--label", metavar="COLUMN", help="of a table, the column to predict")
    parser.add_argument("--text", metavar="COLUMN", help="of a table, the column with the texts to classify, one a row")
    parser.add_argument(
        "--categories",
        metavar="COLUMNS",
        help="of a table, columns that are words though they hold numbers, with commas between the names",
    )
    parser.add_argument(
        "--missing",
        choices=("raise", "mean"),
        help="of a table, what becomes of a missing number: an error, or the mean of the training rows",
    )
