"""The images of many files as a `Split`: decoded at first, or when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.dataset import Split
from unidl.data.image_files import ImageFiles, OnError, default_workers
from unidl.data.images import decode_files, form_of
from unidl.data.source import columns
from unidl.errors import UsageError
from unidl.shortening import shown

MOST_BYTES = 2**30
"""Images that take more than this as float32 are read when they are needed."""
LOOKED_AT = 256
"""Files whose first bytes say what size and how many channels the images have."""


@dataclass(frozen=True)
class ImageOptions:
    """How images are read.

    image_size, channels: as in `unidl.data.images.load_images`. stream: whether they are read when they are needed, as
    uint8; None for that if they would take more than `MOST_BYTES` as float32, or if `workers`, `processes` or
    `on_error` is given: see `ImageFiles`.
    """

    image_size: tuple[int, int] | None = None
    channels: int | None = None
    stream: bool | None = None
    workers: int | None = None
    on_error: OnError = "raise"
    processes: bool = False

    def __post_init__(self) -> None:
        workers = self.workers
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
            raise UsageError(f"workers must be a whole number of at least 0, not {shown(workers)}.")
        if self.on_error not in ("raise", "skip"):
            raise UsageError(f"on_error must be 'raise' or 'skip', not {shown(self.on_error)}.")
        if not isinstance(self.processes, bool):
            raise UsageError(f"processes must be True or False, not {shown(self.processes)}.")
        if self.processes and workers == 0:
            raise UsageError("Cannot use processes=True with workers=0: it needs at least 1, or leave workers out.")
        if self.stream is False and (workers is not None or self.processes or self.on_error != "raise"):
            raise UsageError(
                "workers, processes and on_error are for images that are read when they are needed. Leave stream=False "
                "out."
            )

    @property
    def leaves_it_open(self) -> bool:
        """Whether it is for the size of the data to decide."""
        return self.stream is None and self.workers is None and self.on_error == "raise" and not self.processes

    @property
    def threads(self) -> int:
        """How many threads decode, or have a process decode."""
        return default_workers() if self.workers is None else self.workers


def image_split(
    files: Sequence[Path], y: Any, class_names: tuple[str, ...], options: ImageOptions
) -> tuple[Split, str]:
    """Return the images of some files with their labels, and a hash of what is in the files.

    y: the number of a class for each file, or numbers to predict, or an array for each of several heads; but for the
    first, no other file can stand in for a damaged one.
    """
    if options.stream is False:
        return _in_memory(files, y, class_names, options)
    paths = [str(file) for file in files]
    looked_at = [paths[row] for row in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(int))]
    skips = options.on_error == "skip"
    are_classes = not isinstance(y, dict) and y.dtype.kind == "i"
    if skips and not are_classes:
        raise UsageError(
            "Cannot use on_error='skip' where numbers or several things are predicted: no other file has the same. "
            "Leave it out."
        )
    form = form_of(looked_at, options.image_size, options.channels, skip=skips)
    labels: Any = y if are_classes else np.zeros(len(paths), np.int32)
    how = {"workers": options.threads, "on_error": options.on_error, "processes": options.processes}
    source = ImageFiles(paths, labels, form, whole=len(paths), **how)
    images = columns(source).x
    if options.leaves_it_open and images.nbytes * np.dtype(np.float32).itemsize <= MOST_BYTES:
        return _in_memory(files, y, class_names, options)
    return Split(images, y, class_names=class_names), source.fingerprint()


def _in_memory(files: Sequence[Path], y: Any, class_names: tuple[str, ...], options: ImageOptions) -> tuple[Split, str]:
    x, digest = decode_files(files, options.image_size, options.channels)
    return Split(x, y, class_names=class_names), digest
