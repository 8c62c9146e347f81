"""`unidl train`: one of the three models on bundled data or your own."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options
from unidl.cli.numbers import fraction, positive_number, positive_whole

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split
    from unidl.training import Trainer

log = logging.getLogger("unidl")

VALIDATION_FRACTION = 0.1
"""Of the training rows, held out to decide when to stop early: the test rows must not decide anything."""


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with, where the command line says nothing; the same on every backend."""

    data: str
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str


RECIPES = {
    "cnn": Recipe("digits", epochs=15, batch_size=64, learning_rate=2e-3, schedule="cosine"),
    "lstm": Recipe("python-docs", epochs=2, batch_size=128, learning_rate=4e-3, schedule="cosine"),
    "transfer": Recipe("digits", epochs=10, batch_size=32, learning_rate=1e-3, schedule="cosine"),
}


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "train",
        summary="Train a model and keep the run in a directory.",
        example="""unidl train cnn
            unidl train lstm --backend tensorflow --data my.txt --epochs 5 --out runs/text
            unidl train transfer --base runs/cnn --data path/to/folder_of_class_folders""",
        run=run,
    )
    parser.add_argument("model", choices=tuple(RECIPES), help="which of the three models")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="digits, python-docs, mnist, ...; a text, an .npz, a folder of class folders "
        "(default: digits; python-docs for lstm)",
    )
    parser.add_argument("--epochs", type=positive_whole, metavar="N", help="times through the data")
    parser.add_argument("--batch-size", type=positive_whole, metavar="N", help="rows a step")
    parser.add_argument("--learning-rate", type=positive_number, metavar="X", help="Adam's, at the start")
    parser.add_argument("--schedule", choices=("constant", "cosine"), help="what the learning rate does")
    parser.add_argument("--clip-norm", type=positive_number, metavar="X", help="largest norm of a gradient")
    parser.add_argument("--accumulate", type=positive_whole, metavar="N", help="batches whose gradients make one step")
    parser.add_argument(
        "--early-stopping",
        type=positive_whole,
        metavar="N",
        help="stop after N epochs without a better loss on rows held out of the training data",
    )
    parser.add_argument("--dropout", type=fraction, metavar="X", default=0.0, help="share of units dropped")
    parser.add_argument(
        "--base", default="VGG16", metavar="NAME", help="transfer: a saved run, or a keras.applications name"
    )
    parser.add_argument("--weights", default="imagenet", metavar="NAME", help="transfer: imagenet, a file, or none")
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the run is kept (default: runs/MODEL)")
    parser.add_argument("--plot", action="store_true", help="draw the curves as curves.png, with matplotlib")
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_seed(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on the test rows, save."""
    from unidl.training.run_directory import require_plotting, save_run

    out = arguments.out or Path("runs") / arguments.model
    if arguments.plot:
        require_plotting()
    configuration = _configuration(arguments)
    model, data = _model_and_data(arguments, configuration)
    train, validation = _validation(data, arguments)
    trainer = _trainer(model, len(train), configuration)
    style = "json" if arguments.json else "quiet" if arguments.quiet else "auto"
    trainer.fit(
        train,
        validation=validation,
        epochs=configuration["epochs"],
        batch_size=configuration["batch_size"],
        early_stopping=arguments.early_stopping,
        progress=style,
    )
    configuration["data_origin"] = dict(data.origin)
    if (out / "run.json").exists():
        log.info("%s is replaced", out)
    save_run(trainer, out, configuration=configuration, plot=arguments.plot)
    if trainer.interrupted:
        log.warning("interrupted; the model as it was then is in %s", out)
        return 130
    _report(trainer, data, out, arguments)
    return 0


def _configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, with the recipe where nothing was."""
    configuration = {"model": arguments.model, **asdict(RECIPES[arguments.model])}
    for name in ("data", "epochs", "batch_size", "learning_rate", "schedule"):
        given = getattr(arguments, name)
        if given is not None:
            configuration[name] = given
    for name in ("clip_norm", "accumulate", "early_stopping", "dropout", "image_size", "seed"):
        configuration[name] = getattr(arguments, name)
    if arguments.model == "transfer":
        configuration |= {"base": arguments.base, "weights": arguments.weights}
    return configuration


def _model_and_data(arguments: argparse.Namespace, configuration: dict[str, Any]) -> tuple[keras.Model, Dataset]:
    from unidl import build_cnn, build_lstm, load_data

    settings = {"dropout": arguments.dropout, "seed": arguments.seed}
    size = (arguments.image_size, arguments.image_size) if arguments.image_size else None
    if arguments.model == "lstm":
        data = load_data(configuration["data"])
        _require_kind(data, "text", arguments.model)
        return build_lstm(len(data.vocabulary), data.train.x.shape[1], **settings), data
    if arguments.model == "transfer":
        return _transfer(arguments, configuration, settings)
    data = load_data(configuration["data"], **({"image_size": size} if size else {}))
    _require_kind(data, "images", arguments.model)
    return build_cnn(data.train.x.shape[1:], class_count(data.train), **settings), data


def _transfer(
    arguments: argparse.Namespace, configuration: dict[str, Any], settings: dict[str, Any]
) -> tuple[keras.Model, Dataset]:
    from unidl import build_transfer, load_data, load_model

    if Path(arguments.base).is_dir():
        base: Any = load_model(arguments.base)
        shape = base.input_shape[1:]
    else:
        base = arguments.base
        side = arguments.image_size or 224
        shape = (side, side, 3)
    data = load_data(configuration["data"], image_size=shape[:2], channels=shape[2])
    _require_kind(data, "images", arguments.model)
    weights = None if arguments.weights == "none" else arguments.weights
    model = build_transfer(base, shape, class_count(data.train), weights=weights, **settings)
    return model, data


def class_count(split: Split) -> int:
    """How many classes a model needs: one a name, or up to the highest label."""
    return len(split.class_names) or int(split.y.max()) + 1


def _require_kind(data: Dataset, kind: str, model: str) -> None:
    from unidl.errors import DataError

    if data.kind != kind and not (kind == "images" and data.kind == "arrays" and data.train.x.ndim == 4):
        raise DataError(f"`unidl train {model}` needs {kind}, and '{data.name}' is {data.kind}.")


def _validation(data: Dataset, arguments: argparse.Namespace) -> tuple[Split, Split]:
    """The rows to train on and the rows shown after each epoch: the test rows if nothing is decided by them."""
    if arguments.early_stopping is None:
        return data.train, data.test
    from unidl.data.dataset import take
    from unidl.random import stream

    order = stream(arguments.seed, "validation rows").permutation(len(data.train))
    held_out = max(1, round(VALIDATION_FRACTION * len(order)))
    return take(data.train, order[held_out:]), take(data.train, order[:held_out])


def _trainer(model: keras.Model, rows: int, configuration: dict[str, Any]) -> Trainer:
    import keras

    from unidl import Trainer

    rate = configuration["learning_rate"]
    if configuration["schedule"] == "cosine":
        steps = configuration["epochs"] * math.ceil(rows / configuration["batch_size"])
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = keras.optimizers.Adam(
        rate,
        clipnorm=configuration["clip_norm"],
        gradient_accumulation_steps=configuration["accumulate"],
    )
    return Trainer(model, optimizer=optimizer, seed=configuration["seed"])


def _report(trainer: Trainer, data: Dataset, out: Path, arguments: argparse.Namespace) -> None:
    from unidl.cli.evaluate import describe_metrics, test_results

    results = test_results(trainer, data.test)
    if arguments.json:
        print(json.dumps({"event": "result", "test": results, "out": str(out)}))
        return
    print(f"test: {describe_metrics(results)} on {len(data.test):,} rows")
    follow = {"lstm": f'unidl generate {out} --prompt "the value of"'}.get(
        arguments.model, f"unidl predict {out} image.png"
    )
    print(f"kept in {out}; go on with: {follow}")
    sys.stdout.flush()
