"""`unidl evaluate`: evaluate a saved model on test data."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options
from unidl.cli.numbers import positive_whole

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split
    from unidl.models import Record
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
        "run_directory", type=options.path, metavar="DIR", help="directory written by `unidl train` or Trainer.save"
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
    from unidl import Trainer
    from unidl.models.records import record_of
    from unidl.report import classification_report
    from unidl.report.making import require_classes
    from unidl.reports import require_report_folder
    from unidl.runs.own_model import as_classifier, load_run

    model = load_run(arguments.run_directory, trust=arguments.trust, compiled=True)
    data = _data(model, arguments)
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
    if arguments.json:
        print(json.dumps({"data": data.name, "rows": len(data.test), **results}))
    else:
        print(f"{data.name}: {describe_metrics(results)} on {len(data.test):,} rows")
    return 0


def test_results(trainer: Trainer, test: Split, augmentations: int | None) -> dict[str, float]:
    """Return the test metrics, plus perplexity (exp of the mean cross-entropy per word) for a language model."""
    results = trainer.evaluate(test, augmentations=augmentations)
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


def _data(model: keras.Model, arguments: argparse.Namespace) -> Dataset:
    """Return the requested data in the form, value range and class order that the model expects."""
    from unidl import load_data
    from unidl.data.load import takes_options
    from unidl.data.value_range import dataset_in_range
    from unidl.errors import DataError, UsageError
    from unidl.models.records import record_of
    from unidl.runs.own_model import form_of

    name = arguments.data or _trained_on(arguments.run_directory)
    record = record_of(model)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras tells of its downloads
            form = form_of(model) if takes_options(name) else {}
            data = load_data(name, **_read_as(arguments, record) | form)
    except UsageError as error:
        if record.table is not None:
            raise
        what = "text" if record.vocabulary or record.tokenizer else _expected(getattr(model, "input_shape", None))
        raise DataError(f"Cannot evaluate {arguments.run_directory} on '{name}': the model expects {what}.") from error
    known = record.class_names
    if known and data.class_names and data.class_names != known[: len(data.class_names)]:
        raise DataError(
            f"Cannot evaluate {arguments.run_directory} on '{name}': its classes are "
            f"{_list(data.class_names)}, but the model's are {_list(known)}."
        )
    if arguments.data is not None:
        data = dataset_in_range(data, record.value_range, f"the model in {arguments.run_directory}")
    return data


def _read_as(arguments: argparse.Namespace, record: Record) -> dict[str, Any]:
    """How the run has read its data, if that is what it is evaluated on."""
    from unidl.data.table_files import TABLE_SUFFIXES
    from unidl.runs.configuration import data_options
    from unidl.runs.own_model import configuration_of_run

    if record.table is not None:  # which says all that there is to say of a table
        return {}
    if arguments.data is None:
        return data_options(configuration_of_run(arguments.run_directory))
    if not str(arguments.data).lower().endswith(TABLE_SUFFIXES) or not (record.vocabulary or record.tokenizer):
        return {}
    read = configuration_of_run(arguments.run_directory)
    return {name: read[name] for name in ("text", "target") if read.get(name) is not None}


def _expected(shape: Any) -> str:
    """What rows of a shape are, in words."""
    kinds = {4: ("images", "height x width x channels"), 5: ("clips", "frames x height x width x channels")}
    if not isinstance(shape, tuple) or len(shape) not in kinds:
        return f"rows of shape {shape}"
    what, axes = kinds[len(shape)]
    return f"{what} of {' x '.join(map(str, shape[1:]))} ({axes})"


def _list(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _trained_on(run_directory: Path) -> str:
    from unidl.errors import UsageError
    from unidl.runs.own_model import configuration_of_run

    name = configuration_of_run(run_directory).get("data")
    if not isinstance(name, str):
        raise UsageError(f"{run_directory} does not record its training data. Pass --data.")
    return name
