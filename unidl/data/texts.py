"""Data sets of texts in folders: one folder a class, one file a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.corpus import TEXT_SUFFIXES, TextForm, read_text
from unidl.data.dataset import Dataset, Split, take
from unidl.data.folders import class_files, class_folders, is_ignored
from unidl.data.images import IMAGE_SUFFIXES
from unidl.data.splitting import divide_by_class
from unidl.data.text import PADDING, build_vocabulary, encode, tokenize
from unidl.data.tokenizer import Tokenizer
from unidl.errors import DataError, UsageError

LENGTH = 64
"""Words of each text that are read by default."""


@dataclass(frozen=True)
class Texts:
    """Labelled texts, each with where it comes from, as a message begins with it."""

    texts: Sequence[str]
    places: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]

    def digest(self) -> str:
        """Return a hash of the texts and their labels."""
        hashed = hashlib.sha256(np.asarray(self.labels, np.int64).tobytes())
        for text in self.texts:
            content = text.encode("utf-8", "surrogatepass")
            hashed.update(len(content).to_bytes(8, "little") + content)
        return hashed.hexdigest()


def holds_texts(path: Path) -> bool:
    """Return whether the first class folder with files has texts among them, and no images."""
    for folder in sorted(entry for entry in path.rglob("*") if entry.is_dir()):
        if any(is_ignored(Path(part)) for part in folder.relative_to(path).parts):  # such as .git
            continue
        files = [entry for entry in folder.iterdir() if entry.is_file() and not is_ignored(entry)]
        endings = {entry.suffix.lower() for entry in files}
        if files:
            return bool(endings & set(TEXT_SUFFIXES)) and not endings & set(IMAGE_SUFFIXES)
    return False


def load_text_folder(
    path: Path,
    seed: int,
    *,
    test_fraction: float | None = None,
    tokenizer: Tokenizer | None = None,
    sequence_length: int | None = None,
    **form: Any,
) -> Dataset:
    """Return the texts of a folder of class folders, as tokens; labels count the folders' sorted names.

    tokenizer: that of a pretrained model; its inputs are then x, in rows as long as the longest training text.
    Otherwise x: (n, sequence_length) int32, the first words of each text, numbered as in `build_vocabulary`. form:
    vocabulary_size and vocabulary, as in `TextForm`. A folder divided into 'train' and 'test' keeps that division.
    """
    parts, class_names = class_folders(path)
    if len(parts) == 2 and test_fraction is not None:
        raise UsageError(f"test_fraction does not apply to '{path}': its folders 'train' and 'test' fix the split.")
    fraction = 0.2 if test_fraction is None else test_fraction
    files: list[list[Path]] = []
    labels: list[list[int]] = []
    for part in parts:
        found, classes = class_files(part, class_names, TEXT_SUFFIXES, "text")
        files.append(found)
        labels.append(classes)
    y = np.concatenate([np.array(part, np.int32) for part in labels])
    every = [file for part in files for file in part]
    texts = Texts([read_text(file) for file in every], [f"'{file}'" for file in every], y, class_names)
    if len(parts) == 2:
        train, test = np.arange(len(files[0])), np.arange(len(files[0]), len(y))
    else:
        train, test = divide_by_class(y, fraction, seed, class_names)
    origin = {"source": str(path), "sha256": texts.digest(), "texts": len(y)}
    if len(parts) == 1:
        origin |= {"split_seed": seed, "test_fraction": fraction}
    options = {"tokenizer": tokenizer, "sequence_length": sequence_length, **form}
    return dataset_of_texts(path.resolve().name, texts, train, test, origin, **options)


def dataset_of_texts(
    name: str,
    texts: Texts,
    train: np.ndarray,
    test: np.ndarray,
    origin: dict[str, Any],
    *,
    tokenizer: Tokenizer | None = None,
    sequence_length: int | None = None,
    **form: Any,
) -> Dataset:
    """Return texts as tokens, of which some rows are for training and some for the test. The options are those of
    `load_text_folder`."""
    if tokenizer is None:
        given = TextForm(**form, sequence_length=sequence_length or LENGTH)
        return _as_words(name, texts, train, test, given, origin)
    if any(value is not None for value in form.values()):
        raise UsageError(
            "vocabulary and vocabulary_size do not apply with tokenizer=, which has its own. Leave them out."
        )
    return _as_pieces(name, texts, train, test, tokenizer, sequence_length, origin)


def _as_words(
    name: str, texts: Texts, train: np.ndarray, test: np.ndarray, form: TextForm, origin: dict[str, Any]
) -> Dataset:
    words = [tokenize(text) for text in texts.texts]
    _require_content(words, texts)
    vocabulary = form.vocabulary
    if vocabulary is None:
        vocabulary = build_vocabulary((word for row in train for word in words[row]), form.vocabulary_size or 1000)
    x = np.full((len(words), form.sequence_length), PADDING, np.int32)
    for row, said in enumerate(words):
        tokens = encode(said[: form.sequence_length], vocabulary)
        x[row, : len(tokens)] = tokens
    whole = Split(x, texts.labels, class_names=texts.class_names, vocabulary=tuple(vocabulary))
    origin = origin | {"vocabulary": len(vocabulary), "sequence_length": form.sequence_length}
    return Dataset(name, "text", take(whole, train), take(whole, test), origin)


def _as_pieces(
    name: str,
    texts: Texts,
    train: np.ndarray,
    test: np.ndarray,
    tokenizer: Tokenizer,
    length: int | None,
    origin: dict[str, Any],
) -> Dataset:
    ids = tokenizer.ids(texts.texts)
    _require_content(ids, texts)
    fitted = tokenizer.of_length(length) if length else tokenizer.fitted([ids[row] for row in train])
    whole = Split(fitted.rows(ids), texts.labels, class_names=texts.class_names, tokenizer=fitted)
    origin = origin | {"vocabulary": len(fitted.vocabulary), "sequence_length": fitted.sequence_length}
    return Dataset(name, "text", take(whole, train), take(whole, test), origin)


def _require_content(tokens: Sequence[Sequence[Any]], texts: Texts) -> None:
    empty = [place for place, found in zip(texts.places, tokens, strict=True) if not len(found)]
    if empty:
        raise DataError(f"{empty[0]} contains no words. Write a text there, or remove it.")
