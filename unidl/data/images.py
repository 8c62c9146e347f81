"""Images as arrays: decoding files, one size, one number of channels."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from unidl.errors import DataError, UsageError
from unidl.paths import as_path
from unidl.shortening import shown

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
# Pillow's other decoders stay shut: some start external programs.

_DRAFT = 2
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is at least this many times the new size: 12 million
pixels in a quarter of the time, and at most 2 of 255 grey levels off. With less, 10 levels and a fifth of the time."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# ITU-R BT.601, the weights with which Pillow converts to greyscale too.


@dataclass(frozen=True)
class Form:
    """What images look like: height and width, and how many channels; and whether that was asked for.

    resized: whether images are stretched to the size; else they must have it. asked: whether the channels are what
    images are converted to; else greyscale ones become colour, and colour is an error where there is one channel.
    like: the file whose size it is, for the message.
    """

    size: tuple[int, int]
    channels: int
    resized: bool = True
    asked: bool = True
    like: str = ""


def read_image(path: str, form: Form) -> np.ndarray:
    """Return an image file as (height, width, channels) uint8. Raises `DataError`, naming the file."""
    image = _decode(
        file_content(path), path, form.size if form.resized else None, form.channels if form.asked else None
    )
    if image.shape[:2] != form.size:
        raise DataError(_differ(form.like, form.size, path, image.shape))
    if image.shape[2] > form.channels:
        raise DataError(
            f"The image '{path}' is in colour, and those that were looked at first, such as '{form.like}', are "
            "greyscale. Pass channels=3 to have all in colour, or channels=1 to have all in greyscale."
        )
    return np.broadcast_to(image, (*form.size, form.channels))


def form_of(
    paths: Sequence[str], image_size: tuple[int, int] | None, channels: int | None, *, skip: bool = False
) -> Form:
    """Return what the images of these files look like, by what their first bytes say; nothing is decoded.

    skip: pass over files that cannot be read. Raises `DataError` if they differ in size and none is asked for.
    """
    check_form(image_size, channels)
    heads: dict[str, tuple[int, int, int]] = {}
    for path in paths:
        try:
            heads[path] = _head(path)
        except DataError:
            if not skip or (path == paths[-1] and not heads):
                raise
    like, first = next(iter(heads.items()))
    size = first[:2] if image_size is None else (int(image_size[0]), int(image_size[1]))
    if image_size is None:
        for path, head in heads.items():
            if head[:2] != size:
                raise DataError(_differ(like, size, path, head))
    count = int(channels or max(head[2] for head in heads.values()))
    return Form(size, count, resized=image_size is not None, asked=channels is not None, like=like)


def load_images(
    paths: Sequence[str | Path] | str | Path,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> np.ndarray:
    """Return image files as one array.

    Transparent pixels are drawn over white, a photograph is turned as its camera says, and of an animation the first
    frame is taken.

    Args:
        paths: The paths of the files, or one path.
        image_size: (height, width) in pixels, to which each image is stretched; None if they have one size already.
        channels: 1 (grey) or 3 (red, green, blue). None takes 1 if every image is greyscale.

    Returns:
        The images, (n, height, width, channels) float32 in [0, 1].

    Raises:
        DataError: If a file cannot be read; the message names it.
        UsageError: If no image has this size or number of channels.

    Examples:
        >>> from PIL import Image
        >>> from unidl.data.images import load_images
        >>> Image.new("RGB", (12, 8)).save("black.png")
        >>> load_images(["black.png"], image_size=(4, 6)).shape
        (1, 4, 6, 3)
    """
    return decode_files([paths] if isinstance(paths, (str, Path)) else paths, image_size, channels)[0]


def decode_files(
    paths: Sequence[str | Path], image_size: tuple[int, int] | None, channels: int | None
) -> tuple[np.ndarray, str]:
    """Return what `load_images` does, and the sha256 of all the files' bytes in their order."""
    if not paths:
        raise DataError("There are no images to read: the list of paths is empty.")
    check_form(image_size, channels)
    digest = hashlib.sha256()
    decoded: list[np.ndarray] = []
    for path in map(as_path, paths):
        content = file_content(path)
        digest.update(content)
        decoded.append(_decode(content, path, image_size, channels))
        if decoded[0].shape[:2] != decoded[-1].shape[:2]:
            raise DataError(_differ(paths[0], decoded[0].shape, path, decoded[-1].shape))
    count = channels or max(image.shape[2] for image in decoded)
    stacked = np.stack([np.broadcast_to(image, (*image.shape[:2], count)) for image in decoded])
    return stacked.astype(np.float32) / np.float32(255), digest.hexdigest()


def check_form(image_size: tuple[int, int] | None, channels: int | None) -> None:
    """Raise `UsageError` for a size or a number of channels that no image has."""
    if image_size is not None and not (
        isinstance(image_size, (tuple, list))
        and len(image_size) == 2
        and all(isinstance(side, (int, np.integer)) and side > 0 for side in image_size)
    ):
        raise UsageError(f"image_size must be (height, width), two positive whole numbers, not {shown(image_size)}.")
    if channels is not None and not (isinstance(channels, (int, np.integer)) and channels in (1, 3)):
        raise UsageError(f"channels must be 1 (greyscale) or 3 (red, green, blue), not {shown(channels)}.")


def reform(images: np.ndarray, image_size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """Return (n, h, w, 1 or 3) float32 images in another size (bilinear) or other channels; None keeps."""
    from PIL import Image

    check_form(image_size, channels)
    if channels == 1 and images.shape[3] == 3:
        images = (images @ _LUMA)[..., np.newaxis]
    if image_size is not None and images.shape[1:3] != tuple(image_size):
        height, width = image_size
        planes = np.moveaxis(images, 3, 1).reshape(-1, *images.shape[1:3])
        resized = [
            np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            for plane in np.ascontiguousarray(planes, dtype=np.float32)
        ]
        images = np.moveaxis(np.reshape(resized, (len(images), -1, height, width)), 1, 3)
    if channels == 3 and images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    return np.ascontiguousarray(images)


def file_content(path: str | Path) -> bytes:
    """Return the bytes of an image file. Raises `DataError`, naming it."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"Cannot read the image '{path}': {error.strerror or error}.") from error


def _decode(content: bytes, path: str | Path, image_size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """One image as (height, width, 1 or 3) uint8."""
    from PIL import Image, ImageOps

    with _naming(path), _opened(io.BytesIO(content)) as opened:
        if image_size is not None:
            side = _DRAFT * max(image_size)
            opened.draft(None, (side, side))
        ImageOps.exif_transpose(opened, in_place=True)
        image = _flat(opened, channels)
        if image_size is not None:
            height, width = image_size
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _head(path: str) -> tuple[int, int, int]:
    """Height, width and channels of an image, by its first bytes."""
    from PIL import ExifTags

    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below, and the error of opening it is another one
    except OSError as error:
        raise DataError(f"Cannot read the image '{path}': {error.strerror or error}.") from error
    with file, _naming(path), _opened(file) as opened:
        width, height = opened.size
        # Without a note of its own at the front, Pillow decodes a whole PNG in search of one.
        said = opened.getexif() if opened.format != "PNG" or "exif" in opened.info else {}
        turned = said.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        return *((width, height) if turned else (height, width)), 1 if _is_grey(opened) else 3


def _opened(file: IO[bytes]) -> Image.Image:
    """An image whose pixels are not decoded yet."""
    from PIL import Image

    opened = Image.open(file, formats=_FORMATS)
    most = Image.MAX_IMAGE_PIXELS
    # Pillow only warns of these. To make an error of the warning would change the filters of all threads.
    if most is not None and opened.width * opened.height > most:
        raise ValueError(
            f"it has {opened.width} x {opened.height} pixels, more than the {most:,} that Pillow takes for safe: it "
            "could be a decompression bomb"
        )
    return opened


@contextmanager
def _naming(path: str | Path) -> Generator[None]:
    """Inside it every error becomes a `DataError` that names the file."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError as error:
        raise DataError(
            f"Cannot read the image '{path}': it is not in a format of {', '.join(_FORMATS)}. Convert or remove it."
        ) from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more for damaged files.
        raise DataError(
            f"Cannot read the image '{path}': {error or type(error).__name__}. Repair or remove it."
        ) from error


def _flat(image: Image.Image, channels: int | None) -> Image.Image:
    """The image in mode L or RGB, without transparency."""
    from PIL import Image

    grey = _is_grey(image)
    if image.mode.startswith(("I", "F")):
        # 16 bits a pixel; convert("L") would clip at 255 and leave all but the darkest white.
        pixels = np.asarray(image, dtype=np.float32) / 257
        image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        drawn = image.convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        image = Image.alpha_composite(white, drawn)
    wanted = "L" if (channels or (1 if grey else 3)) == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _is_grey(image: Image.Image) -> bool:
    return image.mode.startswith(("1", "L", "I", "F"))


def _differ(first: str | Path, size: tuple[int, ...], path: str | Path, other: tuple[int, ...]) -> str:
    return (
        f"The images differ in size: '{first}' is {size[0]} x {size[1]} (height x width), '{path}' is {other[0]} x "
        f"{other[1]} (height x width). Pass image_size=(height, width) to bring them all to one."
    )
