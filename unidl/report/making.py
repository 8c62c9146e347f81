"""The report on a classifier: its figures as JSON, a page to look at, and its most confident mistakes on a sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.dataset import Split, take
from unidl.data.recognising import as_split
from unidl.data.source import Column
from unidl.errors import DataError
from unidl.keras_internals import loss_options
from unidl.models.records import record_of
from unidl.paths import as_path
from unidl.report.classification import Classification
from unidl.report.contact_sheet import contact_sheet, is_images
from unidl.report.page import bars, heading, page, paragraph, picture, shaded_table, table
from unidl.reports import require_report_folder, write_bytes

if TYPE_CHECKING:
    from unidl.training import Trainer

PAGE, FIGURES, SHEET = "report.html", "report.json", "mistakes.png"
MOST_MISTAKES = 36
MOST_CLASSES = 60
"""Of a confusion matrix on the page: a larger one is in the JSON alone."""
MOST_WORDS = 30
"""Of a text on the page."""


@dataclass(frozen=True)
class Report:
    """A report as files by their names: a page, its figures, and for images a sheet of mistakes."""

    classification: Classification
    files: dict[str, bytes]

    def write(self, folder: str | Path) -> Path:
        """Write the files into a folder, and return it. Raises `UsageError` or `UnidlError` if that cannot be done."""
        folder = as_path(folder)
        require_report_folder(folder)
        for name, content in self.files.items():
            write_bytes(folder / name, content)
        return folder


def classification_report(trainer: Trainer, data: Any, *, title: str | None = None) -> Report:
    """Evaluate a classifier row by row, and return a report.

    Args:
        trainer: A Trainer of the model.
        data: Rows with labels: a Split, or (x, y).
        title: The title of the page; the name of the model, if nothing is said.

    Returns:
        The report. Its `write(folder)` writes report.html, report.json and, for images, mistakes.png.

    Raises:
        DataError: If the rows have no classes, or the outputs are not probabilities of classes.
    """
    split = as_split(data)
    require_classes(split)
    names = split.class_names or record_of(trainer.model).class_names
    outputs = trainer.predict(Split(split.x))
    found = Classification(np.asarray(split.y), _as_probabilities(trainer.model, outputs), names)
    return _made(found, split, record_of(trainer.model).value_range, title or trainer.model.name)


def require_classes(split: Split) -> None:
    """Raise `DataError` if a report can say nothing of these rows."""
    y = np.asarray(split.y) if isinstance(split.y, Column) else split.y
    one_array = isinstance(y, np.ndarray)
    is_number = split.table is not None and not split.class_names
    if (
        is_number
        or not one_array
        or y.ndim > 2
        or (y.ndim == 2 and y.shape[1] > 1 and not np.allclose(y.sum(axis=1), 1))
        or (y.dtype.kind == "f" and y.size == len(y) and not np.array_equal(y, np.rint(y)))
    ):
        raise DataError(
            "Cannot report on these rows: a report needs one class for each row, as a whole number or one-hot."
        )


def _as_probabilities(model: Any, outputs: Any) -> Any:
    if not isinstance(outputs, np.ndarray):
        raise DataError("Cannot report on a model with several outputs: a report needs one row of classes each.")
    losses = model.loss if isinstance(model.loss, list | tuple | dict) else [model.loss]
    if not any(loss_options(loss).get("from_logits") for loss in losses):
        return outputs
    values = np.asarray(outputs, np.float64)
    if values.ndim == 1 or values.shape[-1] == 1:
        return 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _made(found: Classification, split: Split, value_range: tuple[float, float] | None, title: str) -> Report:
    wrong = found.mistakes(MOST_MISTAKES).tolist()
    files = {FIGURES: json.dumps(figures(found, wrong), indent=1).encode()}
    if is_images(split.x) and len(wrong):
        images = np.asarray(take(Split(split.x), wrong).x)
        spread = None if images.dtype == np.uint8 else value_range
        files[SHEET] = contact_sheet(images, [_below(found, int(row)) for row in wrong], spread)
    files[PAGE] = page(title, _parts(found, split, wrong, files.get(SHEET)))
    return Report(found, files)


def figures(found: Classification, wrong: Sequence[int]) -> dict[str, Any]:
    """Return all figures as JSON values. wrong: the rows that are mistakes to be named."""
    return {
        "rows": len(found.labels),
        "accuracy": found.accuracy,
        "crossentropy": found.crossentropy,
        "expected_calibration_error": found.calibration_error(),
        "classes": [asdict(one) for one in found.classes()],
        "confusion": found.confusion().tolist(),
        "calibration": [asdict(one) for one in found.calibration()],
        "most_confident_mistakes": [
            {
                "row": int(row),
                "label": found.class_names[found.labels[row]],
                "predicted": found.class_names[found.predicted[row]],
                "confidence": float(found.confidence[row]),
            }
            for row in wrong
        ],
    }


def _parts(found: Classification, split: Split, wrong: Sequence[int], sheet: bytes | None) -> list[str]:
    rows = len(found.labels)
    parts = [
        table(
            ("rows", "accuracy", "crossentropy", "expected calibration error"),
            [[f"{rows:,}", f"{found.accuracy:.2%}", f"{found.crossentropy:.4g}", f"{found.calibration_error():.2%}"]],
        ),
        heading("Classes"),
        paragraph(
            "Precision: of the rows that were taken for a class, the share that is of it. Recall: of the rows of a "
            "class, the share that was found. F1: their harmonic mean."
        ),
        table(
            ("class", "rows", "predicted", "precision", "recall", "F1"),
            [
                [one.name, f"{one.rows:,}", f"{one.predicted:,}", *map(_percent, (one.precision, one.recall, one.f1))]
                for one in found.classes()
            ],
        ),
    ]
    if len(found.class_names) <= MOST_CLASSES:
        matrix = [(name, row.tolist()) for name, row in zip(found.class_names, found.confusion(), strict=True)]
        parts += [
            heading("Which class is taken for which"),
            shaded_table("Down: the class of a row. Across: what it was taken for.", found.class_names, matrix),
        ]
    return parts + _calibration(found) + _mistakes(found, split, wrong, sheet)


def _calibration(found: Classification) -> list[str]:
    bins = found.calibration()
    most = max(one.rows for one in bins)
    return [
        heading("How sure, and how often right"),
        paragraph(
            "Each bar: the share of right answers among those that were given with this confidence; the darker, the "
            "more rows. Bars below the line: the model is surer than it should be."
        ),
        bars([one.accuracy for one in bins], [one.rows / most for one in bins], "accuracy by confidence"),
        table(
            ("confidence", "rows", "mean confidence", "accuracy"),
            [
                [f"{one.low:.0%} to {one.high:.0%}", f"{one.rows:,}", _percent(one.confidence), _percent(one.accuracy)]
                for one in bins
                if one.rows
            ],
        ),
    ]


def _mistakes(found: Classification, split: Split, wrong: Sequence[int], sheet: bytes | None) -> list[str]:
    parts = [heading("The most confident mistakes")]
    if not len(wrong):
        return [*parts, paragraph("There are none.")]
    if sheet is not None:
        return [*parts, paragraph("Below each: class > prediction, and its confidence."), picture(sheet, "mistakes")]
    text = bool(split.vocabulary) and isinstance(split.x, np.ndarray) and split.x.ndim == 2
    columns = ("row", "class", "prediction", "confidence", *(("text",) if text else ()))
    rows = [
        [
            f"{row:,}",
            found.class_names[found.labels[row]],
            found.class_names[found.predicted[row]],
            f"{found.confidence[row]:.1%}",
            *([_words(split, int(row))] if text else ()),
        ]
        for row in wrong
    ]
    return [*parts, table(columns, rows)]


def _below(found: Classification, row: int) -> list[str]:
    """What stands below an image."""
    truth, said = found.class_names[found.labels[row]], found.class_names[found.predicted[row]]
    return [f"{truth} > {said}", f"{found.confidence[row]:.1%}, row {row}"]


def _words(split: Split, row: int) -> str:
    tokens = [int(token) for token in np.asarray(split.x[row]) if token > 0]
    words = [split.vocabulary[token] for token in tokens[:MOST_WORDS] if token < len(split.vocabulary)]
    return " ".join(words) + (" ..." if len(tokens) > MOST_WORDS else "")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
