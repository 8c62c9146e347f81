"""`unidl preview`: a picture of images as they are and as an augmentation changes them, before anything is trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli import options
from unidl.cli.numbers import positive_number, positive_whole
from unidl.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from unidl.data import Split
    from unidl.layers import Augmentation
    from unidl.layers.mixing import Mixing

STEPS = """\
steps, with commas between them; behind the = how far each goes, either way, or
from:to:
  geometry    flip, flip=vertical, flip=both, rotation=0.1 (of a full turn),
              zoom=0.2, translation=0.1, shear=0.1, crop=0.5 (the least area)
  colour      brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05,
              grayscale=0.1 (the share of images)
  others      blur=1 (pixels), erasing=0.2 (the largest area),
              randaugment=2 (how many changes)
All geometry is sampled once, in the order of the steps; then come blur, colours,
erasing and RandAugment's tones. With --mixup or --cutmix the first row is mixed
with the last one, and so on; above each column is the share of its own label
that a row keeps."""

COLUMNS = 5
ROWS = 6


def register(subparsers: options.Subparsers) -> None:
    """Add the command to the parser."""
    parser = options.add_command(
        subparsers,
        "preview",
        summary="Draw images as they are and as an augmentation changes them.",
        example="""unidl preview --augment flip,rotation=0.1,brightness=0.2
            unidl preview --data photographs --augment flip --mixup 0.2 --cutmix 1.0
            unidl preview --data photographs --augment crop=0.5,flip,hue=0.05 --rows 8 --out sheet.png""",
        run=run,
    )
    parser.epilog = f"{STEPS}\n\n{parser.epilog}"
    parser.add_argument("--augment", metavar="STEPS", help="what changes; the steps are below")
    for name in ("mixup", "cutmix"):
        parser.add_argument(
            f"--{name}", type=positive_number, metavar="ALPHA", help=f"mix the rows, as `unidl train --{name}` does"
        )
    parser.add_argument(
        "--data",
        type=options.name_or_path,
        default="digits",
        metavar="NAME",
        help="images: digits, mnist, ..., an .npz or a folder of class folders (default: digits)",
    )
    parser.add_argument(
        "--rows", type=positive_whole, default=ROWS, metavar="N", help=f"images that are shown (default: {ROWS})"
    )
    parser.add_argument(
        "--columns", type=positive_whole, default=COLUMNS, metavar="N", help=f"changes of each (default: {COLUMNS})"
    )
    parser.add_argument("--image-size", type=positive_whole, metavar="N", help="height and width that images get")
    parser.add_argument(
        "--out",
        type=options.path,
        default=Path("preview.png"),
        metavar="FILE",
        help="the picture (default: preview.png)",
    )
    options.add_seed(parser)
    options.add_backend(parser)
    options.add_device(parser)
    options.add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Augment some images as a step of training does, and draw them."""
    import numpy as np

    from unidl import devices, load_data, registry
    from unidl.data.contact_sheet import contact_sheet
    from unidl.whole_files import replacing

    backend = registry.current()
    device = devices.resolve().device
    with backend.on(device):
        augmentation, mixing = _layers(arguments)  # what cannot be is said before data is read
    size = arguments.image_size
    split = load_data(arguments.data, image_size=(size, size) if size else None).train
    places = np.linspace(0, len(split) - 1, min(arguments.rows, len(split))).astype(int)
    images = _images(split, places, arguments.data)
    with backend.on(device):
        drawn, titles = _changed(images, arguments.columns, augmentation, mixing)
    rows = [np.stack(row) for row in zip(images, *drawn, strict=True)]
    sheet = contact_sheet(rows, _names(split, places), ["original", *titles])
    with replacing(arguments.out) as file:
        sheet.save(file, format="PNG")
    print(f"kept in {arguments.out}: {len(rows)} images, each in {arguments.columns} changes")
    return 0


def _layers(arguments: argparse.Namespace) -> tuple[Augmentation | None, Mixing | None]:
    """What changes the images, and what mixes them then."""
    from unidl.layers import Augmentation, CutMix, Mixup
    from unidl.layers.mixing import Mixing

    given, seed = ((Mixup, arguments.mixup), (CutMix, arguments.cutmix)), arguments.seed % 2**31
    mixes = [kind(alpha) for kind, alpha in given if alpha is not None]
    if arguments.augment is None and not mixes:
        raise UsageError("There is nothing to preview. Pass --augment, --mixup or --cutmix.")
    augmentation = None if arguments.augment is None else Augmentation(arguments.augment, seed=seed)
    return augmentation, Mixing(mixes, seed=seed) if mixes else None


def _changed(
    images: np.ndarray, count: int, augmentation: Augmentation | None, mixing: Mixing | None
) -> tuple[np.ndarray, list[str]]:
    """The images as this many steps of training see them, (count, *images.shape), and a title for each step.

    Each step is a batch of a prediction, since Keras compiles those as one program: JAX compiles each operation of a
    layer that is called by itself, which takes ten seconds and more.
    """
    import keras
    import numpy as np

    class Changing(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.changes = [layer for layer in (augmentation, mixing) if layer is not None]  # whose counts are state
            self.built = True  # else Keras calls it once by itself on JAX, to build it

        def call(self, images: Any) -> Any:
            for layer in self.changes:
                images = layer(images, training=True)
            share = 1.0 if mixing is None else mixing.share
            return images, keras.ops.zeros_like(images[:, 0, 0, 0]) + share

    model: Any = Changing()
    changed, shares = model.predict(np.concatenate([images] * count), batch_size=len(images), verbose=0)
    titles = [str(number) for number in range(1, count + 1)]
    if mixing is not None:
        titles = [f"{share:.0%} own" for share in shares[:: len(images)]]
    return changed.reshape(count, *images.shape), titles


def _images(split: Split, places: np.ndarray, name: str) -> np.ndarray:
    """The images of these rows, as floats from 0 to 1."""
    from unidl.data.source import Column
    from unidl.data.value_range import UNIT, are_images, in_range, range_of

    streamed = isinstance(split.x, Column)  # of a large folder no other images are read
    images = split.x[places] if streamed else split.x
    if not are_images(images):
        raise DataError(
            f"Cannot preview '{name}': it holds no images with 1 or 3 channels. Take digits, or a folder of class "
            "folders."
        )
    chosen = images if streamed else images[places]
    return in_range(chosen, range_of(images), UNIT, "an augmentation").astype("float32")


def _names(split: Split, places: np.ndarray) -> list[str]:
    """The class of each row, or its number where there is none."""
    if split.y is None or getattr(split.y, "ndim", 0) != 1:
        return [f"row {place}" for place in places]
    labels = [split.y[place] for place in places]
    return [str(split.class_names[int(label)] if split.class_names else label) for label in labels]
