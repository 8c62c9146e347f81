"""Image files as a source: decoded by some threads, or processes, when their rows are needed, and bytes up to the
device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from unidl.backend import Batches
from unidl.data.decoding import DECODERS, DecodingError
from unidl.data.images import Form, file_content, read_image
from unidl.data.source import Rows
from unidl.errors import DataError

OnError = Literal["raise", "skip"]

MOST_WORKERS = 8
"""Threads that decode by default: with more of them the disk, or Python's own work, sets the pace."""
HASHED_FILES = 256
"""Files whose bytes are hashed for the fingerprint, of those of the source; of all others name and size."""


def default_workers() -> int:
    """Return how many threads decode by default: one for each processor core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


@dataclass(eq=False)
class Skipped:
    """The files that could not be read, by name, each with the reason; shared by all parts of a data set."""

    why: dict[str, str] = field(default_factory=dict[str, str])
    told: int = 0

    def new_sentence(self, files: int) -> str | None:
        """Say which files have been skipped, if there are others than at the last call."""
        if len(self.why) == self.told:
            return None
        self.told = len(self.why)
        named = "; ".join(sorted(self.why.values())[:3])
        more = f" (and {self.told - 3:,} more)" if self.told > 3 else ""
        return (
            f"{self.told:,} of {files:,} files could not be read, and the next good file of the same class stands in "
            f"for each: {named}{more}"
        )


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The images of some files, as rows (height, width, channels) of uint8.

    paths: of the files. labels: the class of each, within which another file stands in for one that cannot be read.
    form: the size and the channels that all get. workers: how many threads decode; with 0 the one that reads the rows
    does. processes: whether each of them has a process decode. on_error: what becomes of a file that cannot be read:
    "raise" a `DataError` that names it, or "skip" it, and take in its place the next file of the same class that can be
    read, in the order of `paths`. whole: how many files the data set has, of which these may be a part.
    """

    paths: Sequence[str]
    labels: np.ndarray
    shape: Form
    workers: int = 0
    on_error: OnError = "raise"
    skipped: Skipped = field(default_factory=Skipped)
    whole: int = 0
    processes: bool = False

    @property
    def form(self) -> Batches:
        """Arrays without rows, in the form of those with rows."""
        return Batches(np.empty((0, *self.row_shape), np.uint8))

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of an image."""
        return (*self.shape.size, self.shape.channels)

    def decoded(self, path: str) -> np.ndarray:
        """Return the image of a file. Raises `DataError`, naming it."""
        function, *arguments = self.reader
        return (DECODERS.call if self.processes else _called)(function, path, *arguments)

    @property
    def reader(self) -> tuple[Any, ...]:
        """The function that decodes a file, and what it is given behind the path."""
        return read_image, self.shape

    def content(self, path: str) -> bytes:
        """Return what of a file tells it from others."""
        return file_content(path)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: Rows) -> Batches:
        """Return the images of these rows: the same, whatever the number of workers."""
        images = np.empty((len(rows), *self.row_shape), np.uint8)

        def decode(place: int) -> None:
            images[place] = self._image(int(rows[place]))

        each = range(len(rows))
        if self.workers == 0:
            _finish(map(decode, each))
        else:
            with (
                DECODERS.in_use() if self.processes else nullcontext(),
                ThreadPoolExecutor(self.workers, "unidl-decode") as pool,
            ):
                _finish(pool.map(decode, each))
        return Batches(images)

    def fingerprint(self) -> str:
        """A hash of the names and sizes of all files, of their labels, of the form, and of what some of them hold."""
        # Not by how the paths are written, or where the folder lies: a run goes on from any directory.
        found = hashlib.sha256(f"{replace(self.shape, like='')} {self.on_error}".encode())
        found.update(np.ascontiguousarray(self.labels, "<i8").tobytes())
        paths = [os.path.abspath(path) for path in self.paths]
        root = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
        for path in paths:
            found.update(f"{os.path.relpath(path, root)} {_size(path)}\n".encode("utf-8", "surrogateescape"))
        for row in np.unique(np.linspace(0, len(self) - 1, HASHED_FILES).astype(int)):
            found.update(self.content(self.paths[int(row)]))
        return found.hexdigest()

    def where(self, row: int) -> str:
        """Which file a row is."""
        return f"the file '{self.paths[row]}'"

    def subset(self, rows: Rows) -> ImageFiles:
        """Return the files of some rows; another file stands in for a damaged one among these alone."""
        return replace(self, paths=[self.paths[row] for row in rows], labels=self.labels[rows])

    def tell(self, say: Callable[[str], None]) -> None:
        """Say which files have been skipped since the last time."""
        sentence = self.skipped.new_sentence(self.whole or len(self))
        if sentence is not None:
            say(sentence)

    def _image(self, row: int) -> np.ndarray:
        """The image of a row, or of the next good one of its class."""
        if self.on_error == "raise":
            return self.decoded(self.paths[row])
        image = self._good(row)
        if image is not None:
            return image
        others = np.flatnonzero(self.labels == self.labels[row])
        for other in np.roll(others, -int(np.searchsorted(others, row)))[1:]:
            image = self._good(int(other))
            if image is not None:
                return image
        raise DataError(f"No file of the class of '{self.paths[row]}' can be read: {self.skipped.why[self.paths[row]]}")

    def _good(self, row: int) -> np.ndarray | None:
        """The image of a row; None if it cannot be read, which is noted."""
        path = self.paths[row]
        if path in self.skipped.why:
            return None
        try:
            return self.decoded(path)
        except DecodingError:
            raise
        except DataError as error:
            self.skipped.why[path] = str(error)
            return None


def _called(function: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    return function(*arguments)


def _finish(results: Iterable[None]) -> None:
    """Wait for all of them; the first that failed, in their order, raises."""
    for _ in results:
        pass


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DataError(f"Cannot read the file '{path}': {error.strerror or error}.") from error
