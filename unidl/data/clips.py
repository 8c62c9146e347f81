"""Clips of video files, as frames that are spread evenly over each file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.dataset import Split
from unidl.data.image_files import ImageFiles
from unidl.data.images import Form, check_form
from unidl.data.source import columns
from unidl.errors import DataError, UsageError
from unidl.shortening import shortened, shown

if TYPE_CHECKING:
    from PIL import Image

    from unidl.data.image_sets import ImageOptions

CLIP_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
FRAMES = 16
SIZE = (112, 112)
"""Frames and (height, width) by default, as in the networks for video that were trained on Kinetics."""
WHOLE = 0.9
"""Share of the frames that a file says it has, with fewer than which it is taken for truncated; edits hide some."""
HASHED_BYTES = 2**16
"""Of the beginning of a file, for the fingerprint."""
_TURNS = {90: "ROTATE_90", 180: "ROTATE_180", -180: "ROTATE_180", -90: "ROTATE_270"}


@dataclass(frozen=True, eq=False)
class ClipFiles(ImageFiles):
    """The clips of some files, as rows (time, height, width, channels) of uint8: see `ImageFiles`.

    frames: how many of a file are taken, at equal distances; a file with fewer gives some twice.
    """

    frames: int = FRAMES

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of a clip."""
        return (self.frames, *self.shape.size, self.shape.channels)

    def fingerprint(self) -> str:
        """A hash as that of images, and of how many frames are taken."""
        return hashlib.sha256(f"{super().fingerprint()} {self.frames}".encode()).hexdigest()

    @property
    def reader(self) -> tuple[Any, ...]:
        """The function that decodes a file, and what it is given behind the path."""
        return read_clip, self.frames, self.shape.size, self.shape.channels

    def content(self, path: str) -> bytes:
        """Return the beginning of a file."""
        try:
            with open(path, "rb") as file:
                return file.read(HASHED_BYTES)
        except OSError as error:
            raise _unreadable(path, error.strerror or error) from error


def clip_split(
    files: Sequence[Path], y: np.ndarray, class_names: tuple[str, ...], options: ImageOptions, frames: int | None
) -> tuple[Split, str]:
    """Return the clips of some files with their labels, and a hash of what is in the files."""
    count = FRAMES if frames is None else frames
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise UsageError(f"frames must be a whole number of at least 1, not {shown(frames)}.")
    if options.stream is False:
        raise UsageError("Clips are read when they are needed. Leave stream=False out.")
    check_form(options.image_size, options.channels)
    _require_av(files[0])
    height, width = options.image_size or SIZE
    form = Form((int(height), int(width)), int(options.channels or 3))
    paths = [str(file) for file in files]
    how = {"workers": options.threads, "on_error": options.on_error, "processes": options.processes}
    source = ClipFiles(paths, y, form, whole=len(paths), frames=int(count), **how)
    return Split(columns(source).x, y, class_names=class_names), source.fingerprint()


def load_clips(paths: Sequence[str | Path], frames: int, size: tuple[int, int], channels: int) -> np.ndarray:
    """Return video files as clips, (n, frames, height, width, channels) uint8. Raises `DataError`, naming a file."""
    return np.stack([read_clip(str(path), frames, size, channels) for path in paths])


def read_clip(path: str, frames: int, size: tuple[int, int], channels: int) -> np.ndarray:
    """Return a video file as (frames, height, width, channels) uint8. Raises `DataError`, naming the file.

    Frame k of n comes from the middle of the k-th of n equal parts of the file.
    """
    av = _require_av(path)
    try:
        promised, found, images = _sampled(av, path, frames, 0, size, channels)
        if found and found < promised and found >= WHOLE * promised:
            promised, found, images = _sampled(av, path, frames, found, size, channels)
    except (av.error.FFmpegError, OSError, ValueError, EOFError, IndexError) as error:
        raise _unreadable(path, shortened(error)) from error
    if len(images) < frames:
        raise _unreadable(path, f"it ends after {found:,} of {promised:,} frames" if found else "it has no frames")
    return np.stack([images[place] for place in range(frames)])


def _sampled(
    av: Any, path: str, frames: int, count: int, size: tuple[int, int], channels: int
) -> tuple[int, int, dict[int, np.ndarray]]:
    """How many frames the file says it has, or `count` if that is known; how many were decoded; and those that were
    wanted, by their places in the clip."""
    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no video")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # several files are decoded at once
        count = count or stream.frames or _counted(av, path)
        wanted = np.floor((np.arange(frames) + 0.5) * count / frames).astype(int)
        images: dict[int, np.ndarray] = {}
        found = 0
        for frame in container.decode(stream):
            places = np.flatnonzero(wanted == found)
            if len(places):
                image = _pixels(frame, size, channels)
                images |= dict.fromkeys(places.tolist(), image)
            found += 1
            if found > wanted[-1]:
                break
    return count, found, images


def _counted(av: Any, path: str) -> int:
    """How many frames there are, where the file does not say: each comes in a packet of its own."""
    with av.open(path) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def _pixels(frame: Any, size: tuple[int, int], channels: int) -> np.ndarray:
    from PIL import Image

    image: Image.Image = frame.to_image()
    turn = _TURNS.get(round(getattr(frame, "rotation", 0)))
    if turn is not None:  # as the camera was held
        image = image.transpose(Image.Transpose[turn])
    height, width = size
    image = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if channels == 1 else pixels


def _require_av(path: str | Path) -> Any:
    try:
        import av  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise DataError(f"Cannot read '{path}': it needs PyAV. Install it with: pip install 'unidl[video]'") from error
    return av


def _unreadable(path: str, why: object) -> DataError:
    return DataError(f"Cannot read the clip '{path}': {why}. Repair or remove it.")
