"""JPEG files by simplejpeg, where it is installed: the bits that Pillow gives, in less time."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


def faster_jpeg(content: bytes, opened: Image.Image, whole: tuple[int, int]) -> Image.Image | None:
    """Return an image that Pillow has opened and not decoded, in the size that it would decode it to; None for what is
    left to Pillow: other formats and colours, files that a camera has turned, and damaged ones, which it names.

    whole: width and height of the file.
    """
    library = simplejpeg()
    if library is None or opened.format != "JPEG" or opened.mode not in ("L", "RGB"):
        return None
    from PIL import ExifTags, Image

    if opened.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return None
    width, height = opened.size
    smaller = {}
    if opened.size != whole:
        # Both count in powers of two, up to 1/8.
        smaller = {"min_width": width, "min_height": height, "min_factor": round(whole[0] / width)}
    try:
        pixels = library.decode_jpeg(content, "GRAY" if opened.mode == "L" else "RGB", **smaller)
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return Image.fromarray(pixels[..., 0] if opened.mode == "L" else pixels)


@functools.cache
def simplejpeg() -> Any:
    """The library; None where it is not installed."""
    try:
        import simplejpeg  # pyright: ignore[reportMissingImports] - an extra
    except ImportError:
        return None
    return simplejpeg
