"""Data sets of images or clips in folders: one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unidl.data.clips import CLIP_SUFFIXES, clip_split
from unidl.data.dataset import Dataset, take
from unidl.data.image_sets import ImageOptions, image_split
from unidl.data.images import IMAGE_SUFFIXES
from unidl.data.splitting import divide_by_class
from unidl.errors import DataError, UsageError
from unidl.shortening import listed

_SUFFIXES = (*IMAGE_SUFFIXES, *CLIP_SUFFIXES)
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
    frames: int | None = None,
    **options: Any,
) -> Dataset:
    """Return the images, or the clips, of a folder of class folders; labels count the folders' sorted names.

    x: (n, height, width, channels) float32 in [0, 1], or uint8 where they are read when they are needed; y: (n,) int32.
    Of clips x is (n, time, height, width, channels) uint8, read when it is needed; frames: how many of each file.
    `test_fraction` (0.2) of each class is held out, unless the folder brings the parts 'train' and 'test'. options: the
    fields of `ImageOptions`. How images are read: `unidl.data.images.load_images`.
    """
    wanted = ImageOptions(**options)
    parts, class_names = class_folders(path)
    given = len(parts) == 2
    if given and test_fraction is not None:
        raise UsageError(f"test_fraction does not apply to '{path}': its folders 'train' and 'test' fix the split.")
    files, labels = class_files(parts[0], class_names, _SUFFIXES, "image")
    first_test = len(files)
    if given:
        more_files, more_labels = class_files(parts[1], class_names, _SUFFIXES, "image")
        files, labels = files + more_files, labels + more_labels
    kind = _kind(path, files)
    y = np.array(labels, dtype=np.int32)
    test_fraction = 0.2 if test_fraction is None else test_fraction
    if given:
        train_rows, test_rows = np.arange(first_test), np.arange(first_test, len(files))
    else:
        train_rows, test_rows = divide_by_class(y, test_fraction, seed, class_names)
    if kind == "clips":
        whole, digest = clip_split(files, y, class_names, wanted, frames)
    elif frames is not None:
        raise UsageError(f"frames does not apply to '{path}', which holds images and not clips. Leave it out.")
    else:
        whole, digest = image_split(files, y, class_names, wanted)
    origin = {"source": str(path), "sha256": digest, kind: len(files)}
    if not given:
        origin |= {"split_seed": seed, "test_fraction": test_fraction}
    return Dataset(path.resolve().name, kind, take(whole, train_rows), take(whole, test_rows), origin)


def _kind(path: Path, files: Sequence[Path]) -> Literal["images", "clips"]:
    clips = [file for file in files if file.suffix.lower() in CLIP_SUFFIXES]
    if clips and len(clips) < len(files):
        raise DataError(f"'{path}' holds clips, such as '{clips[0]}', and images. Keep them in two folders.")
    return "clips" if clips else "images"


def class_folders(path: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the folders that hold the class folders, those of training and test or `path` alone, and the classes."""
    if not _is_divided(_subfolders(path)):
        return [path], _class_names(path)
    class_names = _class_names(path / "train")
    _require_same_classes(path, class_names)
    return [path / "train", path / "test"], class_names


def class_files(
    path: Path, class_names: Sequence[str], suffixes: Sequence[str], what: str
) -> tuple[list[Path], list[int]]:
    """Return every file below `path`, class by class, and the label of each. what: what the files hold, in a word."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        entries = [entry for entry in sorted((path / name).iterdir()) if not is_ignored(entry)]
        found = [_file(entry, suffixes, what) for entry in entries]
        if not found:
            raise DataError(
                f"The class folder '{path / name}' has no {what} ({', '.join(suffixes)}). Add {what}s or "
                "remove the folder."
            )
        files += found
        labels += [label] * len(found)
    return files, labels


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


def is_ignored(entry: Path) -> bool:
    """Return whether a file is one that systems leave in folders."""
    return entry.name.startswith((".", "__")) or entry.name in _IGNORED


def _file(entry: Path, suffixes: Sequence[str], what: str) -> Path:
    """The entry itself; anything else than such a file is an error, since leaving it out would go unnoticed."""
    if entry.is_dir():
        raise DataError(f"'{entry}' is a folder inside a class folder, which holds files only. {_LAYOUT}")
    if entry.suffix.lower() not in suffixes:
        raise DataError(f"Cannot read '{entry}' as {what} ({', '.join(suffixes)}). Convert it or move it away.")
    return entry
