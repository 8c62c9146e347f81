"""`unidl report`: one page about runs, comparisons and certificates."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidl.cli import options


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "report",
        summary="Write one page of HTML about runs, comparisons and certificates; it needs no network and no script.",
        example="""unidl report runs/cnn
            unidl report runs/a runs/b results/results.json certificate/certificate.json --out report.html""",
        run=run,
    )
    parser.add_argument(
        "subjects",
        nargs="+",
        type=options.path,
        metavar="PATH",
        help="the directory of a run, results.json of `unidl compare`, or certificate.json of `unidl verify --out` or "
        "of `unidl export`",
    )
    parser.add_argument(
        "--out", type=options.path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    parser.add_argument("--title", metavar="WORDS", help="title of the page (default: the paths)")


def run(arguments: argparse.Namespace) -> int:
    """Read, write."""
    from unidl.overview import making, subjects
    from unidl.reports import write_bytes

    found = subjects.read(arguments.subjects)
    title = arguments.title or ", ".join(map(str, arguments.subjects))
    write_bytes(arguments.out, making.html(found, title))
    print(f"wrote {arguments.out}")
    return 0
