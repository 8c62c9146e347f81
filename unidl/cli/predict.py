"""`unidl predict`: what a saved model predicts for images, texts or the rows of a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options
from unidl.cli.numbers import positive_whole
from unidl.cli.predictions import Prediction, predictions, print_rows
from unidl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from unidl.backend import Tree
    from unidl.deploy.predicting import Predictor


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "predict",
        summary="Print the most likely classes of images or texts, or what is predicted for the rows of a table.",
        example="""unidl predict runs/cnn a.png b.png
            unidl predict runs/cnn *.png --top 3 --json
            unidl predict runs/text-classifier 'how to split a string'
            unidl predict runs/tabular --data new_rows.csv""",
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="DIR", help="directory of a run, or of `unidl export`"
    )
    options.add_trust(parser)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="image files, which are resized, or video files, of which frames are taken; for a text classifier, one "
        "text per argument, of any length",
    )
    parser.add_argument(
        "--data",
        type=options.path,
        metavar="FILE",
        help="for a model that was trained on a table: a .csv, .tsv or .parquet file with the same columns",
    )
    parser.add_argument(
        "--top", type=positive_whole, default=1, metavar="K", help="number of classes to print (default: 1)"
    )
    parser.add_argument(
        "--augmentations",
        type=positive_whole,
        metavar="N",
        help="average over N augmented copies of each image, for a model that was trained with --augment",
    )
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load the model, predict, and print one line per image or text."""
    from unidl.deploy.predicting import predictor

    model = predictor(arguments.run_directory, trust=arguments.trust)
    _require_kind(model, arguments)
    if arguments.data is not None:
        return _print_table(model, arguments)
    record = model.record
    reads_text = record.tokenizer is not None or bool(record.vocabulary and record.class_names)
    kind, what = ("text", _of_texts) if reads_text else ("image", _of_images)
    if reads_text and arguments.augmentations is not None:
        raise UsageError(f"Cannot use --augmentations: {arguments.run_directory} reads texts. Leave it out.")
    found = predictions(record, what(model, arguments), arguments.top)
    named = list(zip(arguments.inputs, found, strict=True))
    rows = [{kind: given, **one.values} for given, one in named]
    return print_rows(arguments, rows, [f"{given}  {one.said}" for given, one in named])


def _require_kind(model: Predictor, arguments: argparse.Namespace) -> None:
    """Raise `UsageError` unless there is what the model predicts from: a table, or images or texts."""
    reads_table = model.record.table is not None
    if reads_table and arguments.augmentations is not None:
        raise UsageError(f"Cannot use --augmentations: {arguments.run_directory} predicts from a table. Leave it out.")
    if reads_table and (arguments.data is None or arguments.inputs):
        raise UsageError(f"{arguments.run_directory} predicts from a table. Pass --data FILE, and no INPUT.")
    if not reads_table and (arguments.data is not None or not arguments.inputs):
        raise UsageError(f"{arguments.run_directory} predicts from images or texts. Pass INPUT, and no --data.")


def _print_table(model: Predictor, arguments: argparse.Namespace) -> int:
    """Print one line for each row of a table: its number, from 0, and what is predicted."""
    from unidl.data.table_files import read_table

    table: Any = model.record.table
    outputs = model.predict(table.encoded(read_table(arguments.data), f"'{arguments.data}'"))
    if table.class_names:
        found = predictions(model.record, outputs, arguments.top)
    else:
        found = [Prediction({table.target: float(value)}, f"{value:.6g}") for value in outputs[:, 0]]
    rows = [{"row": row, **one.values} for row, one in enumerate(found)]
    return print_rows(arguments, rows, [f"{row}  {one.said}" for row, one in enumerate(found)])


def _of_images(model: Predictor, arguments: argparse.Namespace) -> Tree:
    """Return probabilities of shape (images, classes), or of clips, or those of each head."""
    from unidl.data.clips import load_clips
    from unidl.data.images import load_images
    from unidl.data.value_range import UNIT, in_range
    from unidl.paths import as_path

    *frames, height, width, channels = _image_shape(model, arguments.run_directory)
    paths = [as_path(word) for word in arguments.inputs]
    if frames:
        clips = load_clips(paths, frames[0], (height, width), channels)
        return model.predict(clips, augmentations=arguments.augmentations)
    images = load_images(paths, image_size=(height, width), channels=channels)
    value_range = model.record.value_range
    images = in_range(images, UNIT, value_range, f"the model in {arguments.run_directory}")
    return model.predict(images, augmentations=arguments.augmentations)


def _of_texts(model: Predictor, arguments: argparse.Namespace) -> Tree:
    """Return probabilities of shape (texts, classes), or those of each head. A long text is split, and the
    outputs of its parts are averaged."""
    import numpy as np

    from unidl.data.text import tokenize
    from unidl.data.trees import map_leaves
    from unidl.errors import DataError

    tokenizer = model.record.tokenizer
    texts: Any = [tokenize(text) for text in arguments.inputs] if tokenizer is None else tokenizer.ids(arguments.inputs)
    for text, words in zip(arguments.inputs, texts, strict=True):
        if not words:
            raise DataError(f"Cannot classify the text {text!r}: it contains no words.")
    if tokenizer is not None:
        parts = [tokenizer.parts(ids) for ids in texts]
        rows: Any = tokenizer.rows([part for of_text in parts for part in of_text])
    else:
        length = model.input_shape[1] or max(map(len, texts))
        parts = [_rows(words, model, length) for words in texts]
        rows = np.concatenate(parts)
    outputs, ends = model.predict(rows), np.cumsum([len(part) for part in parts])
    return map_leaves(lambda leaf: np.array([part.mean(axis=0) for part in np.split(leaf, ends[:-1])]), outputs)


def _rows(words: Sequence[str], model: Predictor, length: int) -> np.ndarray[Any, Any]:
    """Return the tokens of a text as rows of equal length; the last one is padded at the end."""
    import numpy as np

    from unidl.data.text import PADDING, encode

    tokens = encode(words, model.record.vocabulary)
    rows = np.full((-(-len(tokens) // length), length), PADDING, dtype=np.int32)
    rows.flat[: len(tokens)] = tokens
    return rows


def _image_shape(model: Predictor, run_directory: Path) -> tuple[int, ...]:
    """Return the shape of images (height, width, channels), or of clips (time, height, width, channels). Raises
    `ModelError` if this is not a classifier of such."""
    from unidl.errors import ModelError

    shape, classes = model.input_shape, model.output_shape
    heads = classes if isinstance(classes, list) else [classes]
    is_classifier = (
        isinstance(shape, tuple)
        and len(shape) in (4, 5)
        and all(isinstance(head, tuple) and len(head) == 2 for head in heads)
    )
    if not is_classifier or shape[-1] not in (1, 3) or None in shape[1:]:
        raise ModelError(
            f"{run_directory} is not an image classifier: its inputs have shape {shape} and its outputs {classes}."
        )
    return shape[1:]
