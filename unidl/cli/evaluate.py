"""`unidl evaluate`: a saved model on test rows."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split
    from unidl.training import Trainer


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "evaluate",
        summary="Evaluate a saved model on the test rows it was trained beside, or on other data.",
        example="""unidl evaluate runs/cnn
            unidl evaluate runs/cnn --backend torch --data path/to/folder""",
        run=run,
    )
    parser.add_argument("run_directory", type=Path, metavar="DIR", help="what `unidl train` or Trainer.save wrote")
    parser.add_argument("--data", metavar="NAME", help="other data, of whose rows the test part is used")
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load, evaluate, print."""
    from unidl import Trainer, load_model

    model = load_model(arguments.run_directory)
    data = _data(model, arguments)
    results = test_results(Trainer(model), data.test)
    if arguments.json:
        print(json.dumps({"data": data.name, "rows": len(data.test), **results}))
    else:
        print(f"{data.name}: {describe_metrics(results)} on {len(data.test):,} rows")
    return 0


def test_results(trainer: Trainer, test: Split) -> dict[str, float]:
    """Return the test metrics; for text with the perplexity, exp of the mean crossentropy a word."""
    results = trainer.evaluate(test)
    if test.vocabulary:
        results["perplexity"] = math.exp(results["loss"])
    return results


def describe_metrics(results: dict[str, float]) -> str:
    """Write test metrics as people read them."""
    from unidl.training.progress import format_metrics

    return format_metrics(results)


def _data(model: keras.Model, arguments: argparse.Namespace) -> Dataset:
    """The data that was asked for, in the form the model takes."""
    from unidl import load_data
    from unidl.errors import UsageError

    name = arguments.data or _trained_on(arguments.run_directory)
    if name is None:
        raise UsageError(f"{arguments.run_directory} does not say what data it was trained on. Pass --data.")
    return load_data(name, **data_options(model, name))


def data_options(model: keras.Model, name: str) -> dict[str, Any]:
    """What `load_data` needs to bring `name` into the form that `model` takes."""
    from unidl.models.records import record_of

    shape = model.input_shape
    if record_of(model).vocabulary or Path(name).suffix == ".npz":
        return {}
    return {"image_size": shape[1:3], "channels": shape[3]} if len(shape) == 4 else {}


def _trained_on(run_directory: Path) -> str | None:
    run_file = run_directory / "run.json"
    if not run_file.is_file():
        return None
    return json.loads(run_file.read_text())["configuration"].get("data")
