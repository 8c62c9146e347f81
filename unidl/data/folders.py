"""Data sets of images in folders: one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unidl.data.dataset import Dataset, Split, take
from unidl.data.image_files import ImageFiles, OnError, default_workers
from unidl.data.images import IMAGE_SUFFIXES, decode_files, form_of
from unidl.data.source import columns
from unidl.data.splitting import divide_by_class
from unidl.errors import DataError, UsageError
from unidl.shortening import listed, shown

MOST_BYTES = 2**30
"""Images that take more than this as float32 are read when they are needed."""
LOOKED_AT = 256
"""Files whose first bytes say what size and how many channels the images have."""

_IGNORED = ("Thumbs.db", "desktop.ini")
_LAYOUT = (
    "Expected class folders that hold images, as in flowers/rose/1.jpg and flowers/tulip/1.jpg; or the "
    "folders 'train' and 'test', each with the same class folders."
)


def load_folder(
    path: Path,
    seed: int,
    *,
    test_fraction: float | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    stream: bool | None = None,
    workers: int | None = None,
    on_error: OnError = "raise",
) -> Dataset:
    """Return the images of a folder of class folders; labels count the folders' sorted names.

    x: (n, height, width, channels) float32 in [0, 1]; y: (n,) int32. `test_fraction` (0.2) of each class is
    held out, unless the folder brings the parts 'train' and 'test'. How images are read:
    `unidl.data.images.load_images`.

    stream: whether images are read when they are needed, as uint8; if nobody says, those are that would take more than
    `MOST_BYTES` as float32, and those that `workers` and `on_error` are for: see `ImageFiles`.
    """
    _check_stream(stream, workers, on_error)
    parts = _subfolders(path)
    given = _is_divided(parts)
    if given and test_fraction is not None:
        raise UsageError(f"test_fraction does not apply to '{path}': its folders 'train' and 'test' fix the split.")
    train_path = path / "train" if given else path
    class_names = _class_names(train_path)
    files, labels = _files(train_path, class_names)
    first_test = len(files)
    if given:
        _require_same_classes(path, class_names)
        more_files, more_labels = _files(path / "test", class_names)
        files, labels = files + more_files, labels + more_labels
    y = np.array(labels, dtype=np.int32)
    test_fraction = 0.2 if test_fraction is None else test_fraction
    if given:
        train_rows, test_rows = np.arange(first_test), np.arange(first_test, len(files))
    else:
        train_rows, test_rows = divide_by_class(y, test_fraction, seed, class_names)
    source = None
    if stream is not False:
        source = _source(files, y, image_size, channels, workers, on_error)
        if stream is None and workers is None and on_error == "raise" and _float_bytes(source) <= MOST_BYTES:
            source = None
    if source is None:
        x, digest = decode_files(files, image_size, channels)
        whole = Split(x, y, class_names=class_names)
    else:
        digest = source.fingerprint()
        whole = Split(columns(source).x, y, class_names=class_names)
    origin = {"source": str(path), "sha256": digest, "images": len(files)}
    if not given:
        origin |= {"split_seed": seed, "test_fraction": test_fraction}
    return Dataset(path.resolve().name, "images", take(whole, train_rows), take(whole, test_rows), origin)


def _check_stream(stream: bool | None, workers: int | None, on_error: OnError) -> None:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
        raise UsageError(f"workers must be a whole number of at least 0, not {shown(workers)}.")
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error must be 'raise' or 'skip', not {shown(on_error)}.")
    if stream is False and (workers is not None or on_error != "raise"):
        raise UsageError("workers and on_error are for images that are read when they are needed. Leave stream out.")


def _source(
    files: Sequence[Path],
    labels: np.ndarray,
    image_size: tuple[int, int] | None,
    channels: int | None,
    workers: int | None,
    on_error: OnError,
) -> ImageFiles:
    paths = [str(file) for file in files]
    looked_at = [paths[row] for row in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(int))]
    form = form_of(looked_at, image_size, channels, skip=on_error == "skip")
    workers = default_workers() if workers is None else workers
    return ImageFiles(paths, labels, form, workers, on_error, whole=len(paths))


def _float_bytes(source: ImageFiles) -> int:
    return len(source) * int(np.prod(source.form.x.shape[1:])) * np.dtype(np.float32).itemsize


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(
            (entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))),
            key=lambda entry: entry.name,
        )
    except OSError as error:
        raise DataError(f"Cannot read the folder '{path}': {error.strerror or error}.") from error


def _is_divided(folders: Sequence[Path]) -> bool:
    """Whether these are the parts of a data set; two classes called so would hold images, not folders."""
    names = {folder.name for folder in folders}
    return {"train", "test"} <= names and all(
        _subfolders(folder) for folder in folders if folder.name in ("train", "test")
    )


def _class_names(path: Path) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _subfolders(path))
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "none"
        raise DataError(f"'{path}' needs at least 2 class folders and has {found}. {_LAYOUT}")
    return names


def _require_same_classes(path: Path, train_names: tuple[str, ...]) -> None:
    test_names = {folder.name for folder in _subfolders(path / "test")}
    for part, missing in (("test", set(train_names) - test_names), ("train", test_names - set(train_names))):
        if missing:
            names = listed(f"'{name}'" for name in sorted(missing))
            raise DataError(
                f"'{path / part}' lacks the class folders {names}, which the other part has. Both parts need "
                "the same classes."
            )


def _files(path: Path, class_names: Sequence[str]) -> tuple[list[Path], list[int]]:
    """Every image below `path`, class by class, and the label of each."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = [_image(entry) for entry in sorted((path / name).iterdir()) if not _is_ignored(entry)]
        if not found:
            raise DataError(
                f"The class folder '{path / name}' has no image ({', '.join(IMAGE_SUFFIXES)}). Add images or "
                "remove the folder."
            )
        files += found
        labels += [label] * len(found)
    return files, labels


def _is_ignored(entry: Path) -> bool:
    return entry.name.startswith((".", "__")) or entry.name in _IGNORED


def _image(entry: Path) -> Path:
    """The entry itself; anything else than an image is an error, since leaving it out would go unnoticed."""
    if entry.is_dir():
        raise DataError(f"'{entry}' is a folder inside a class folder, which holds images only. {_LAYOUT}")
    if entry.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(
            f"'{entry}' is no image that unidl reads ({', '.join(IMAGE_SUFFIXES)}). Convert it or move it away."
        )
    return entry
