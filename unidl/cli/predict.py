"""`unidl predict`: what a saved classifier sees in images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from unidl.cli import options
from unidl.cli.numbers import positive_whole


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
    parser.add_argument("run_directory", type=Path, metavar="DIR", help="what `unidl train` or Trainer.save wrote")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files; they are resized")
    parser.add_argument("--top", type=positive_whole, default=1, metavar="K", help="how many classes (default: 1)")
    options.add_backend(parser)
    options.add_device(parser)
    options.add_precision(parser)
    options.add_quiet(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load, predict, print one line an image."""
    from unidl import Trainer, load_model
    from unidl.data.images import load_images
    from unidl.errors import ModelError
    from unidl.models.records import record_of

    model = load_model(arguments.run_directory)
    shape = model.input_shape
    if len(shape) != 4:
        raise ModelError(f"{arguments.run_directory} is no image classifier: its input has the shape {shape[1:]}.")
    images = load_images(arguments.images, image_size=shape[1:3], channels=shape[3])
    outputs = Trainer(model).predict(images)
    names = record_of(model).class_names or tuple(str(label) for label in range(outputs.shape[-1]))
    rows = []
    for path, probabilities in zip(arguments.images, outputs, strict=True):
        best = probabilities.argsort()[::-1][: arguments.top]
        rows.append(
            {
                "image": str(path),
                "classes": [{"name": names[k], "probability": float(probabilities[k])} for k in best],
            }
        )
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        found = "  ".join(f"{entry['name']} {entry['probability']:.1%}" for entry in row["classes"])
        print(f"{row['image']}  {found}")
    return 0
