"""Data sets of texts in a table, CSV or Parquet: one text a row, with its class in another column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unidl.data.dataset import Dataset
from unidl.data.table import FOR_IMAGES, FOR_NUMBERS, divided, load_table, parts_of, target_column
from unidl.data.table_files import read_table
from unidl.data.table_targets import target_values
from unidl.data.texts import Texts, dataset_of_texts
from unidl.errors import DataError, UsageError
from unidl.shortening import listed, shown

FOR_TEXTS = ("vocabulary_size", "vocabulary", "sequence_length", "tokenizer")


def load_any_table(path: Path, seed: int, *, text: str | None = None, **options: Any) -> Dataset:
    """Return the texts of a table, if a column of texts is named; or what `load_table` makes of it."""
    wrong = FOR_TEXTS if text is None else (*FOR_IMAGES, *FOR_NUMBERS)
    given = [name for name in wrong if name in options]
    if given and text is None:
        raise UsageError(
            f"{given[0]} does not apply to '{path}', of which no column is named as that of the texts. Pass text=, the "
            f"name of that column, or leave {given[0]} out."
        )
    if given:
        raise UsageError(f"{given[0]} does not apply to '{path}' with text={text!r}. Leave it out.")
    return load_table(path, seed, **options) if text is None else _load_texts(path, seed, text, **options)


def _load_texts(
    path: Path, seed: int, text: str, *, target: str | None = None, test_fraction: float | None = None, **form: Any
) -> Dataset:
    """form: tokenizer, sequence_length, vocabulary_size and vocabulary, as in `load_text_folder`."""
    columns = read_table(path)
    if text not in columns:
        raise UsageError(f"'{path}' has no column {shown(text)}. Its columns are {listed(columns)}: pass one as text=.")
    target = target_column(path, columns, target)
    if target == text:
        raise UsageError(f"Cannot predict the column {shown(text)} of '{path}' from itself: pass another target=.")
    rows, fixed, _ = parts_of(path, columns, test_fraction)
    y, class_names = target_values(f"'{path}'", target, [columns[target][row] for row in rows], None)
    if not class_names:
        raise DataError(
            f"The column '{target}' of '{path}' holds numbers, and texts are classified. Pass another target=, or "
            "write its values as words."
        )
    texts = Texts([columns[text][row] for row in rows], [f"Row {row} of '{path}'" for row in rows], y, class_names)
    train, test, drawn = divided(y, class_names, fixed, test_fraction, seed)
    origin = {"source": str(path), "sha256": texts.digest(), "texts": len(y), "text": text, "target": target, **drawn}
    return dataset_of_texts(path.name, texts, train, test, origin, **form)
