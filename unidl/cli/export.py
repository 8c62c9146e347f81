"""`unidl export`: a run as a file that another program runs, certified against the run in float64."""

from __future__ import annotations

import argparse
import json

from unidl.cli import options


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "export",
        summary="Export a run to a file that another program runs, if that computes the same.",
        example="""unidl export runs/cnn --to onnx
            unidl export runs/cnn --to onnx --precision int8
            unidl export runs/lstm --to openvino --out exported/lstm
            unidl verify runs/cnn --against exported/cnn-onnx
            unidl predict exported/cnn-onnx a.png b.png""",
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="RUN", help="directory written by `unidl train` or Trainer.save"
    )
    # The names are those of `unidl.deploy.formats`, which is not imported to print the help.
    parser.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help="onnx, openvino, litert, stablehlo (JAX), pt2 (PyTorch) or saved-model (TensorFlow, zipped)",
    )
    # Not named `precision`, which `options.applied` would make that of this process.
    parser.add_argument(
        "--precision",
        dest="bits",
        default="float32",
        metavar="NAME",
        help="float32; float16 or int8 for a smaller ONNX file, measured beside float32 (default: float32)",
    )
    parser.add_argument(
        "--out", type=options.path, metavar="DIR", help="directory to write (default: exported/RUN-FORMAT[-PRECISION])"
    )
    parser.add_argument(
        "--data",
        type=options.name_or_path,
        metavar="NAME",
        help="data whose test rows the file is compared on (default: what the run was trained on)",
    )
    # Not named `backend`: `options.applied` would make it the backend of this process, which needs none.
    parser.add_argument(
        "--backend", dest="exporter", metavar="NAME", help="the backend that exports (default: the best one installed)"
    )
    options.add_trust(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export, and print the certificate."""
    from unidl.deploy import export

    done = export(
        arguments.run_directory,
        arguments.to,
        precision=arguments.bits,
        out=arguments.out,
        backend=arguments.exporter,
        data=arguments.data,
        trust=arguments.trust,
    )
    if arguments.json:
        print(json.dumps({"directory": str(done.directory), **done.certificate.to_json()}))
        return 0
    show(done.certificate)
    print(f"wrote {done.directory}")
    return 0


def show(certificate: object) -> None:
    """Print a certificate: its table, and what it says in one line."""
    from unidl.cli.console import report_console
    from unidl.deploy.certificate import ExportCertificate
    from unidl.tables import on_terminal

    if isinstance(certificate, ExportCertificate):
        report_console().print(on_terminal(certificate.table()))
        print(certificate.summary())
