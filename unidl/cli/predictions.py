"""What `unidl predict` prints of each row: classes, labels, numbers, or each of these for a head."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unidl.backend import Tree
    from unidl.models import Record

LIKELY = 0.5
"""Labels of at least this probability are printed; in JSON all are."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one row: as JSON values, and in words."""

    values: dict[str, Any]
    said: str


def predictions(record: Record, outputs: Tree, top: int) -> list[Prediction]:
    """Return what a model predicts for each row. record: of the model. top: how many classes are said."""
    arguments = {} if record.architecture is None else record.architecture.arguments
    if isinstance(outputs, Mapping):
        return _of_heads(
            {name: _of_head(found, record.head_names.get(name, ()), top) for name, found in outputs.items()}
        )
    if arguments.get("targets") is not None:
        return [_numbers(row) for row in outputs]
    if arguments.get("labels") is not None:
        return [_labels(row, record.class_names) for row in outputs]
    return [_classes(row, record.class_names, top) for row in outputs]


def print_rows(arguments: argparse.Namespace, rows: list[dict[str, Any]], lines: list[str]) -> int:
    """Print the rows in JSON if that is asked for, or else as lines for people."""
    if arguments.json:
        lines = [json.dumps(rows)]
    for line in lines:
        print(line)
    return 0


def _of_head(outputs: Any, names: Sequence[str], top: int) -> list[Prediction]:
    if outputs.shape[-1] == 1:
        return [Prediction({"value": float(row[0])}, f"{row[0]:.6g}") for row in outputs]
    return [_classes(row, names, top) for row in outputs]


def _of_heads(heads: Mapping[str, Sequence[Prediction]]) -> list[Prediction]:
    """Join what each head says of a row."""
    rows = [dict(zip(heads, row, strict=True)) for row in zip(*heads.values(), strict=True)]
    return [
        Prediction(
            {"heads": {name: one.values for name, one in row.items()}},
            "  ".join(f"{name}: {one.said}" for name, one in row.items()),
        )
        for row in rows
    ]


def _classes(row: Any, names: Sequence[str], top: int) -> Prediction:
    """The most likely classes, with their probabilities."""
    best = _named(row, names)[:top]
    return Prediction({"classes": best}, _written(best))


def _labels(row: Any, names: Sequence[str]) -> Prediction:
    """Every label, and in words those that are likely."""
    labels = _named(row, names)
    likely = [label for label in labels if label["probability"] >= LIKELY]
    return Prediction({"labels": labels}, _written(likely) or f"no label (at most {_written(labels[:1])})")


def _named(row: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """The probabilities of a row, the highest first, with their names."""
    every = (*names, *(str(number) for number in range(len(names), len(row))))
    return [{"name": every[number], "probability": float(row[number])} for number in row.argsort()[::-1]]


def _numbers(row: Any) -> Prediction:
    values = [float(number) for number in row]
    return Prediction({"values": values}, "  ".join(f"{value:.6g}" for value in values))


def _written(entries: Sequence[Mapping[str, Any]]) -> str:
    return "  ".join(f"{entry['name']} {entry['probability']:.1%}" for entry in entries)
