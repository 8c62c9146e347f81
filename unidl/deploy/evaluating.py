"""Loss and accuracy of an exported file on test rows, as its model's own metrics define them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unidl.data.dataset import Split
from unidl.deploy.predicting import Predictor
from unidl.errors import DataError, UsageError

SMALLEST = 1e-7
"""Probabilities are at least this in a logarithm, as in Keras."""


def evaluated(model: Predictor, test: Split, path: Path) -> dict[str, float]:
    """Return the loss, and the accuracy where the model predicts classes: cross-entropy of the labels, or the mean
    squared error of numbers. Raises `DataError` for targets of another shape, and `UsageError` for
    several outputs."""
    if isinstance(model.output_shape, list):
        raise UsageError(f"Cannot evaluate {path}: it has {len(model.output_shape)} outputs. Evaluate the run.")
    outputs, labels = np.asarray(model.predict(_whole(test.x)), np.float64), np.asarray(_whole(test.y))
    numbers = labels.dtype.kind == "f" and not test.class_names
    if numbers:
        if labels.size != outputs.size:
            raise _unfit(path, outputs, labels)
        return {"loss": float(np.mean((outputs.reshape(labels.shape) - labels) ** 2))}
    if labels.shape != outputs.shape[:-1]:
        raise _unfit(path, outputs, labels)
    shares = outputs / outputs.sum(axis=-1, keepdims=True)
    likely = np.take_along_axis(shares, labels[..., None].astype(np.int64), axis=-1)
    loss = -np.log(np.clip(likely, SMALLEST, 1 - SMALLEST))
    return {"loss": float(loss.mean()), "accuracy": float((outputs.argmax(-1) == labels).mean())}


def _whole(rows: Any) -> Any:
    """Return rows as arrays in memory."""
    if isinstance(rows, dict):
        return {name: np.asarray(value) for name, value in rows.items()}
    return np.asarray(rows[:]) if hasattr(rows, "__getitem__") and not isinstance(rows, list | tuple) else rows


def _unfit(path: Path, outputs: Any, labels: Any) -> DataError:
    return DataError(
        f"Cannot evaluate {path} on these rows: it returns outputs of shape {outputs.shape}, and the targets have "
        f"shape {labels.shape}."
    )
