"""`unidl evaluate`: evaluate a saved model on test data."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import positive_whole

if TYPE_CHECKING:
    from unidl.data import Dataset, Split
    from unidl.training import Trainer


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "evaluate",
        summary="Evaluate a saved model on the test set of its training data, or on other data.",
        example="""unidl evaluate runs/cnn
            unidl evaluate runs/cnn --report runs/cnn-report
            unidl evaluate runs/cnn --augmentations 8
            unidl evaluate runs/cnn --backend torch --data path/to/folder""",
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="DIR", help="directory of a run, or of `unidl export`"
    )
    options.add_trust(parser)
    parser.add_argument(
        "--data", type=options.name_or_path, metavar="NAME", help="other data, of whose rows the test part is used"
    )
    parser.add_argument(
        "--report",
        type=options.path,
        metavar="FOLDER",
        help="write report.html there: which classes are taken for which, how sure the model is, its worst mistakes",
    )
    parser.add_argument(
        "--augmentations",
        type=positive_whole,
        metavar="N",
        help="evaluate the average over N augmented copies of each image, for a model that was trained with --augment",
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load, evaluate, print."""
    from unidl.deploy.exported import is_exported

    data, results = (_of_exported if is_exported(arguments.run_directory) else _of_run)(arguments)
    if arguments.json:
        print(json.dumps({"data": data.name, "rows": len(data.test), **results}))
    else:
        print(f"{data.name}: {describe_metrics(results)} on {len(data.test):,} rows")
    return 0


def _of_exported(arguments: argparse.Namespace) -> tuple[Dataset, dict[str, float]]:
    """Evaluate an exported directory, without a framework."""
    from unidl.deploy.evaluating import evaluated
    from unidl.deploy.exported import read_exported
    from unidl.deploy.predicting import of_exported
    from unidl.errors import UsageError
    from unidl.runs.evaluation_data import data_in_form

    path = arguments.run_directory
    for option in ("report", "augmentations"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"Cannot use --{option} with {path}: it is an exported file. Use the run.")
    model = of_exported(read_exported(path, trust=arguments.trust), path)
    data = data_in_form(model.record, model.input_shape, path, arguments.data)
    return data, with_perplexity(evaluated(model, data.test, path), data.test)


def _of_run(arguments: argparse.Namespace) -> tuple[Dataset, dict[str, float]]:
    """Evaluate a run, and write the report that was asked for."""
    from unidl import Trainer
    from unidl.models.records import record_of
    from unidl.report import classification_report
    from unidl.report.making import require_classes
    from unidl.reports import require_report_folder
    from unidl.runs.evaluation_data import evaluation_data
    from unidl.runs.own_model import as_classifier, load_run

    model = load_run(arguments.run_directory, trust=arguments.trust, compiled=True)
    data = evaluation_data(model, arguments.run_directory, arguments.data)
    if record_of(model).architecture is None and not model.compiled:
        model.compile(**as_classifier(model, data))
    trainer = Trainer(model)
    if arguments.report is not None:
        require_report_folder(arguments.report)
        require_classes(data.test)
    results = test_results(trainer, data.test, augmentations=arguments.augmentations)
    if arguments.report is not None:
        title = f"{arguments.run_directory} on {data.name}"
        classification_report(trainer, data.test, title=title).write(arguments.report)
    return data, results


def test_results(trainer: Trainer, test: Split, augmentations: int | None) -> dict[str, float]:
    """Return the test metrics, plus perplexity (exp of the mean cross-entropy per word) for a language model."""
    return with_perplexity(trainer.evaluate(test, augmentations=augmentations), test)


def with_perplexity(results: dict[str, float], test: Split) -> dict[str, float]:
    """Add the perplexity to the results of a language model."""
    if test.vocabulary and not test.class_names:
        try:
            results["perplexity"] = math.exp(results["loss"])
        except OverflowError:
            results["perplexity"] = math.inf
    return results


def describe_metrics(results: dict[str, float]) -> str:
    """Format test metrics for display."""
    from unidl.training.progress import format_metrics

    return format_metrics(results)
