"""`unidl predict`: what a saved classifier sees in images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from unidl.cli import options
from unidl.cli.numbers import positive_whole

if TYPE_CHECKING:
    import keras


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "predict",
        summary="Print the likeliest classes of images.",
        example="""unidl predict runs/cnn a.png b.png
            unidl predict runs/cnn *.png --top 3 --json""",
        run=run,
    )
    parser.add_argument(
        "run_directory", type=options.path, metavar="DIR", help="what `unidl train` or Trainer.save wrote"
    )
    options.add_trust(parser)
    parser.add_argument("images", type=options.path, nargs="+", metavar="IMAGE", help="image files; they are resized")
    parser.add_argument("--top", type=positive_whole, default=1, metavar="K", help="how many classes (default: 1)")
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load, predict, print one line an image."""
    from unidl import Trainer
    from unidl.cli.own_model import load_run
    from unidl.data.images import load_images
    from unidl.data.value_range import UNIT, in_range
    from unidl.models.records import record_of

    model = load_run(arguments.run_directory, trust=arguments.trust)
    height, width, channels = _image_shape(model, arguments.run_directory)
    images = load_images(arguments.images, image_size=(height, width), channels=channels)
    images = in_range(images, UNIT, record_of(model).value_range, f"the model in {arguments.run_directory}")
    if record_of(model).architecture is None:
        model.compile()  # a stranger's loss is not saved, and to predict none is needed
    outputs = Trainer(model).predict(images)
    names = record_of(model).class_names
    names += tuple(str(label) for label in range(len(names), outputs.shape[-1]))
    rows = []
    for path, probabilities in zip(arguments.images, outputs, strict=True):
        best = probabilities.argsort()[::-1][: arguments.top]
        classes = [{"name": names[label], "probability": float(probabilities[label])} for label in best]
        rows.append({"image": str(path), "classes": classes})
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        found = "  ".join(f"{entry['name']} {entry['probability']:.1%}" for entry in row["classes"])
        print(f"{row['image']}  {found}")
    return 0


def _image_shape(model: keras.Model, run_directory: Path) -> tuple[int, int, int]:
    """Height, width and channels of the images that a classifier takes. Raises `ModelError` if it is none."""
    from unidl.errors import ModelError

    shape, classes = model.input_shape, model.output_shape
    is_classifier = isinstance(shape, tuple) and len(shape) == 4 and isinstance(classes, tuple) and len(classes) == 2
    if not is_classifier or shape[3] not in (1, 3) or None in shape[1:]:
        raise ModelError(
            f"{run_directory} is no classifier of images: its inputs have the shape {shape} and its outputs {classes}."
        )
    return shape[1:]
