"""`load_data`: a data set by its name or by the path of a file or folder."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unidl import plugins
from unidl.data.arrays import load_arrays
from unidl.data.bundled_tables import TABLES, load_bundled_table
from unidl.data.corpus import TEXT_SUFFIXES, load_python_docs, load_text
from unidl.data.dataset import Dataset
from unidl.data.digits import load_digits
from unidl.data.folders import load_folder
from unidl.data.images import IMAGE_SUFFIXES
from unidl.data.keras_images import SOURCES, load_keras_images
from unidl.data.mapped import load_mapped
from unidl.data.table import FOR_NUMBERS, TABLE_SUFFIXES
from unidl.data.table_form import Missing, TableForm
from unidl.data.text_table import FOR_TEXTS, load_any_table
from unidl.data.texts import holds_texts, load_text_folder
from unidl.data.tokenizer import Tokenizer
from unidl.data.topics import load_python_topics
from unidl.errors import DataError, UsageError
from unidl.paths import as_path
from unidl.shortening import shortened, shown

GROUP = "unidl.data"
_TEXT = ("test_fraction", "vocabulary_size", "vocabulary", "sequence_length")
_IMAGES = ("test_fraction", "image_size", "channels")
_FILES = (*_IMAGES, "stream", "workers", "processes", "on_error")

_PATHS = (
    f"a folder of class folders with images ({', '.join(IMAGE_SUFFIXES)}), clips or texts, a table "
    f"({', '.join(TABLE_SUFFIXES)}) with a column label, an .npz with x and y or x_train, y_train, x_test and "
    f"y_test, x.npy with y.npy beside it, and a UTF-8 text ({', '.join(TEXT_SUFFIXES)})"
)


_LEAST = {"seed": 0, "vocabulary_size": 3, "sequence_length": 1}
"""The smallest value of each whole number; 3 words are padding, unknown and one more."""


@dataclass(frozen=True)
class Loader:
    """The loader of one data set.

    An entry point of the group `unidl.data` gives one under the name of the data set.

    Examples:
        >>> import numpy as np
        >>> from unidl.data import Dataset, Loader, Split
        >>> def load_bars():
        ...     bars = Split(np.zeros((4, 8, 8, 1)), np.arange(4))
        ...     return Dataset("bars", "images", train=bars, test=bars)
        >>> BARS = Loader("images of a bar", load_bars)
        >>> BARS.load().train.x.shape
        (4, 8, 8, 1)
    """

    what: str
    """What it is, for messages: "images", "text"."""
    load: Callable[..., Dataset]
    """Called with those of the options that were given, by their names."""
    options: tuple[str, ...] = ()
    """The arguments of `load_data` that mean something for it."""
    seeded: bool = False
    """Whether `load` is called with `seed` as well, which decides which rows are held out."""


LOADERS = {
    "digits": Loader("images", load_digits, _IMAGES, seeded=True),
    "python-docs": Loader("text", load_python_docs, _TEXT),
    "python-topics": Loader("text with classes", load_python_topics, _TEXT),
    **{
        name: Loader("a table", partial(load_bundled_table, name), ("test_fraction", *FOR_NUMBERS), seeded=True)
        for name in TABLES
    },
    **{
        name: Loader("images with a split of their own", partial(load_keras_images, name), _IMAGES[1:])
        for name in SOURCES
    },
}
"""The data sets that come with unidl."""


def names() -> tuple[str, ...]:
    """Return the names of all data sets: ours, then those of plugins."""
    return (*LOADERS, *(name for name in plugins.found(GROUP) if name not in LOADERS))


def load_data(
    name: str | Path,
    *,
    seed: int = 0,
    test_fraction: float | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    vocabulary_size: int | None = None,
    vocabulary: Sequence[str] | None = None,
    sequence_length: int | None = None,
    stream: bool | None = None,
    workers: int | None = None,
    processes: bool | None = None,
    on_error: Literal["raise", "skip"] | None = None,
    frames: int | None = None,
    target: str | None = None,
    label: str | None = None,
    categories: Sequence[str] | None = None,
    missing: Missing | None = None,
    table: TableForm | None = None,
    tokenizer: Tokenizer | None = None,
    text: str | None = None,
) -> Dataset:
    """Load a data set by name, or from a file or folder.

    The name of a data set takes precedence over a file or folder of the same name.

    Args:
        name: "digits", "python-docs", "python-topics", "wine", "diabetes", "mnist", "fashion_mnist", "cifar10",
            "cifar100" or a data set of a plugin; or the path of a folder of class folders with images, clips or texts,
            of a `.npz` file with arrays, of a table (`.csv`, `.tsv` or `.parquet`), or of a text in UTF-8. Tables of
            numbers and categories are for `unidl.build_tabular`.
        seed: Determines which rows are held out, where rows are drawn. The default gives the same split everywhere.
        test_fraction: Fraction of the rows to hold out, between 0 and 1. If None, 0.2; of a text, the last 0.1 (of
            "python-topics" 0.2).
        image_size: (height, width) in pixels. If None, (28, 28) for "digits" and (112, 112) for clips; other images
            stay as they are.
        channels: 1 (grey) or 3 (red, green, blue). If None, 1 for "digits", 3 for clips; other images stay as they are.
        vocabulary_size: Maximum size of the vocabulary, including padding and the unknown word. If None, 1000.
        vocabulary: The words of a model that is already trained, so that its tokens keep their meaning. If None, the
            words are counted again.
        sequence_length: Tokens per row. If None, 20; for "python-topics", 64.
        stream: Whether the images of a folder are read when they are needed, instead of all at first. If None, they are
            if they would take more than 1 GiB as float32. Streamed images are uint8 up to the device, where the
            compiled step scales them to [0, 1].
        workers: Threads that decode streamed images; with 0 the reading thread does. If None, one per processor core.
            The order and the bits are the same for every number.
        processes: Whether each of these workers is a process. Pillow decodes in threads at full speed, so this is for
            machines where Python's own work holds the threads up. Order and bits stay the same; a process that dies
            is a `DataError`, and none outlives this process. If None, threads decode.
        on_error: What to do with a streamed file that cannot be read: "raise" a `DataError` that names it when it is
            needed, or "skip" it. The next good file of the same class then takes its place, and the skipped files are
            named and counted after each epoch. If None, "raise".
        frames: Frames to take of each clip of a folder of clips, at equal distances. If None, 16.
        target: The column to predict, of a CSV or Parquet file. If None, the column that is called label, class, target
            or y. In a table of numbers and categories, words are classes, and so are up to 20 different whole numbers
            that are written without a point; other numbers are predicted as numbers. Images may have several labels: a
            column with semicolons between their names, or several columns of 0 and 1, "cat,dog".
        label: Another name for `target`.
        categories: Columns of a table to read as words though they hold numbers, such as postal codes.
        missing: What takes the place of a missing number in a table: "mean", that of the training rows, or "raise" for
            a `DataError`. If None, "raise".
        table: What a trained model knows of the columns of a table, `record_of(model).table`, so that numbers and words
            keep their meaning. If None, scales and words are learned on the training rows.
        tokenizer: The tokenizer of a pretrained model, `unidl.models.record_of(model).tokenizer`, for labelled texts.
            If None, texts become words that are numbered by how often they occur.
        text: The column of a table that holds texts, one a row, which are then classified by `target`. If None, a table
            holds paths of images, or numbers and categories.

    Returns:
        The data set, split for training and test.

    Raises:
        UsageError: If an option does not apply to this data set, or its value cannot be used.
        DataError: If the data is missing, damaged or too small.

    Examples:
        >>> import unidl
        >>> digits = unidl.load_data("digits", image_size=(8, 8))
        >>> digits.train.x.shape, digits.test.y.shape
        ((1438, 8, 8, 1), (359,))
    """
    _check_counts(seed=seed)
    if None not in (label, target):
        raise UsageError("Cannot use label= beside target=: they are two names of one argument. Pass one.")
    loader = _find(name)
    given = {
        "test_fraction": test_fraction,
        "image_size": image_size,
        "channels": channels,
        "vocabulary_size": vocabulary_size,
        "vocabulary": vocabulary,
        "sequence_length": sequence_length,
        "stream": stream,
        "workers": workers,
        "processes": processes,
        "on_error": on_error,
        "frames": frames,
        "target": label if target is None else target,
        "categories": categories,
        "missing": missing,
        "table": table,
        "tokenizer": tokenizer,
        "text": text,
    }
    given = {option: value for option, value in given.items() if value is not None}
    for option in given:
        if option not in loader.options:
            raise UsageError(
                f"{option} does not apply to '{name}' ({loader.what}), which takes "
                f"{', '.join(loader.options) or 'none of these options'}. Leave {option} out."
            )
    _check_counts(**{option: given[option] for option in _LEAST if option in given})
    if loader.seeded:
        given["seed"] = int(seed)
    data = loader.load(**given)
    if not isinstance(data, Dataset):
        raise DataError(f"Cannot load '{name}': its plugin gave a {type(data).__name__}, not a unidl.data.Dataset.")
    return data


def takes_options(name: str | Path) -> bool:
    """Whether a data set can be loaded in several forms; that of a plugin may have only its own."""
    return bool(_find(name).options)


def _find(name: str | Path) -> Loader:
    if isinstance(name, str):  # Path("digits") is a folder, and "digits" the data set
        if name in LOADERS:
            return LOADERS[name]
        if name in plugins.found(GROUP):
            return plugins.load(GROUP, name, Loader, error=DataError)
    path = as_path(name)
    if path.is_dir() and holds_texts(path):
        options = (*_TEXT, "tokenizer")
        return Loader("texts in class folders", partial(load_text_folder, path), options, seeded=True)
    if path.is_dir():
        return Loader("a folder of images or clips", partial(load_folder, path), (*_FILES, "frames"), seeded=True)
    if not path.is_file():
        raise _unknown(str(name))
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        options = (*_FILES, "target", *FOR_NUMBERS, "text", *FOR_TEXTS)
        return Loader("a table", partial(load_any_table, path), options, seeded=True)
    if suffix == ".npy":
        return Loader("an array in a file", partial(load_mapped, path), ("test_fraction",), seeded=True)
    if suffix == ".npz":
        return Loader("arrays", partial(load_arrays, path), _IMAGES, seeded=True)
    if suffix in TEXT_SUFFIXES:
        return Loader("text", partial(load_text, path), _TEXT)
    raise DataError(f"Cannot tell what data '{name}' holds: the ending '{suffix}' is unknown. Accepted: {_PATHS}.")


def _unknown(name: str) -> DataError:
    known_names = names()
    close = difflib.get_close_matches(name, known_names, n=1)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    known = ", ".join(f"'{known_name}'" for known_name in known_names)
    return DataError(
        f"There is no data set, file or folder '{shortened(name)}'.{guess} Known data sets: {known}. "
        f"Accepted paths: {_PATHS}."
    )


def _check_counts(**counts: Any) -> None:
    for option, value in counts.items():
        least = _LEAST[option]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise UsageError(f"{option} must be a whole number of at least {least}, not {shown(value)}.")
