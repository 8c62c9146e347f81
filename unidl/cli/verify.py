"""`unidl verify`: check layer by layer that a model computes the same on every backend."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import names, positive_whole
from unidl.models import builders
from unidl.precision import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unidl.agreement.certificate import Certificate
    from unidl.errors import UnidlError

DISAGREES = 10
"""Exit code when the backends disagree: the check ran, and its answer is no."""


def register(subparsers: options.Subparsers) -> None:
    """Add the command."""
    parser = options.add_command(
        subparsers,
        "verify",
        summary="Check layer by layer that a model computes the same on every backend, against float64.",
        example="""unidl verify cnn
            unidl verify runs/cnn --backends jax,torch --precision mixed_bfloat16 --devices cpu,gpu --out certificate
            unidl verify model.py:build --input 32,32,3
            unidl verify cnn lstm --by unidl,keras
            unidl verify runs/cnn --against exported/cnn-onnx""",
        run=run,
    )
    parser.add_argument(
        "subjects",
        nargs="+",
        type=options.name_or_path,
        metavar="MODEL",
        help=f"{', '.join(builders.names())}; the directory of a saved run; or a function that returns a model, as "
        "model.py:build",
    )
    parser.add_argument("--backends", type=names, metavar="NAMES", help="comma-separated (default: all installed)")
    parser.add_argument(
        "--devices", type=names, metavar="NAMES", help="comma-separated (default: cpu, and gpu if there is one)"
    )
    # Not named `precision`: `options.applied` would make it the precision of this process.
    parser.add_argument(
        "--precision",
        dest="precisions",
        type=names,
        default=["float32"],
        metavar="NAMES",
        help=f"comma-separated: {', '.join(NAMES)} (default: float32)",
    )
    parser.add_argument(
        "--by",
        type=names,
        default=["unidl"],
        metavar="NAMES",
        help="comma-separated: unidl (its loop and kernels), keras (stock Keras) (default: unidl)",
    )
    parser.add_argument(
        "--input",
        type=_row,
        metavar="SHAPE",
        help="shape of one row, such as 32,32,3, or 20:int32 for tokens (default: from the model)",
    )
    parser.add_argument(
        "--steps",
        type=positive_whole,
        default=5,
        metavar="NUMBER",
        help="number of training steps to compare (default: 5)",
    )
    options.add_seed(parser)
    options.add_trust(parser)
    parser.add_argument(
        "--against",
        type=options.path,
        metavar="DIR",
        help="instead of backends, check a directory that `unidl export` wrote against the run, on this machine",
    )
    parser.add_argument(
        "--out", type=options.path, metavar="FOLDER", help="write certificate.json and certificate.md to FOLDER"
    )
    options.add_json(parser)
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify and report. Return 0 if everything agrees, 10 if something does not."""
    from unidl.agreement.output import write
    from unidl.notices import notice
    from unidl.reports import require_report_folder

    if arguments.out is not None:
        require_report_folder(arguments.out)
    if arguments.against is not None:
        return _against(arguments)
    certificates, failures = _verified(arguments)
    _report(certificates, arguments)
    if arguments.out is not None and certificates:
        for file in write(arguments.out, certificates):
            notice(f"wrote {file}")
    for error in failures:
        sys.stderr.write(f"unidl: {error}\n")
    if failures:
        return failures[0].exit_code
    return 0 if all(one.agrees for one in certificates) else DISAGREES


def _against(arguments: argparse.Namespace) -> int:
    """Certify an exported directory again."""
    import json

    from unidl.cli.export import show
    from unidl.deploy import verify
    from unidl.deploy.certificate import CERTIFICATE
    from unidl.errors import UsageError
    from unidl.reports import write_bytes

    parser = arguments.command_parser
    settings = ("backends", "devices", "precisions", "by", "input", "steps", "seed")
    given = [name for name in settings if getattr(arguments, name) != parser.get_default(name)]
    if given or len(arguments.subjects) != 1:
        what = f"--{given[0]}" if given else "several models"
        raise UsageError(f"Cannot use {what} with --against: pass one run, and an exported directory.")
    certificate = verify(arguments.subjects[0], arguments.against, trust=arguments.trust)
    if arguments.json:
        print(json.dumps(certificate.to_json()))
    else:
        show(certificate)
        if not certificate.agrees:
            print(certificate.why_not())
    if arguments.out is not None:
        write_bytes(arguments.out / CERTIFICATE, certificate.content())
    return 0 if certificate.agrees else DISAGREES


def _verified(arguments: argparse.Namespace) -> tuple[list[Certificate], list[UnidlError]]:
    """Return the certificates, and the errors of the models that have none."""
    from unidl.agreement.certify import Verifier
    from unidl.agreement.request import requested_settings
    from unidl.agreement.subject import Subject
    from unidl.errors import UnidlError
    from unidl.notices import notice

    shape, dtype = arguments.input or (None, "float32")
    subjects = [
        Subject(name, input_shape=shape, input_dtype=dtype, trust=arguments.trust)
        for name in dict.fromkeys(arguments.subjects)
    ]
    for subject in subjects:
        subject.require_there()
    settings = requested_settings(arguments.backends, arguments.devices, arguments.precisions, arguments.by)
    certificates: list[Certificate] = []
    failures: list[UnidlError] = []
    with Verifier(notice) as verifier:
        for subject in subjects:
            try:
                found = verifier.certificate(subject, settings, steps=arguments.steps, seed=arguments.seed)
            except UnidlError as error:
                failures.append(error)
            else:
                certificates.append(found)
    return certificates, failures


def _report(certificates: Sequence[Certificate], arguments: argparse.Namespace) -> None:
    from unidl.agreement.output import to_json
    from unidl.agreement.report import draw
    from unidl.cli.console import report_console

    if arguments.json:
        sys.stdout.write(to_json(certificates) + "\n")
    else:
        draw(certificates, report_console())


def _row(words: str) -> tuple[tuple[int, ...], str]:
    """Parse the shape and dtype of a row."""
    sizes, _, dtype = words.partition(":")
    try:
        shape = tuple(positive_whole(word.strip()) for word in sizes.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"invalid shape {words!r}: expected numbers such as 32,32,3 or 20:int32"
        ) from None
    if dtype not in ("", "float32", "int32"):
        raise argparse.ArgumentTypeError(f"invalid dtype in {words!r}: expected float32 or int32")
    return shape, dtype or "float32"
