"""Images as arrays: decoding files, one size, one number of channels."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unidl.errors import DataError, UsageError
from unidl.paths import as_path
from unidl.shortening import shown

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
# Pillow's other decoders stay shut: some start external programs.

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# ITU-R BT.601, the weights with which Pillow converts to greyscale too.


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
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read the image '{path}': {error.strerror or error}.") from error
        digest.update(content)
        decoded.append(_decode(content, path, image_size, channels))
        if decoded[0].shape[:2] != decoded[-1].shape[:2]:
            raise DataError(
                f"The images differ in size: '{paths[0]}' is {_size(decoded[0])}, '{path}' is "
                f"{_size(decoded[-1])}. Pass image_size=(height, width) to bring them all to one."
            )
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


def _decode(content: bytes, path: Path, image_size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """One image as (height, width, 1 or 3) uint8."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                image = _flat(ImageOps.exif_transpose(opened), channels)
        if image_size is not None:
            height, width = image_size
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise DataError(
            f"Cannot read the image '{path}': it is no {', '.join(_FORMATS)}. Convert or remove it."
        ) from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more for damaged files.
        raise DataError(
            f"Cannot read the image '{path}': {error or type(error).__name__}. Repair or remove it."
        ) from error
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _flat(image: Image.Image, channels: int | None) -> Image.Image:
    """The image in mode L or RGB, without transparency."""
    from PIL import Image

    grey = image.mode.startswith(("1", "L", "I", "F"))
    if image.mode.startswith(("I", "F")):
        # 16 bits a pixel; convert("L") would clip at 255 and leave all but the darkest white.
        pixels = np.asarray(image, dtype=np.float32) / 257
        image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        drawn = image.convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        image = Image.alpha_composite(white, drawn)
    wanted = channels or (1 if grey else 3)
    return image.convert("L" if wanted == 1 else "RGB")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]} (height x width)"
