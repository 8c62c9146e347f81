"""Prediction with a saved run or an exported directory, whichever a path names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidl.computes import Computes
from unidl.deploy.exported import ExportedFiles, is_exported, read_exported
from unidl.errors import DataError, ModelError, UsageError
from unidl.models.records import Record, record_of

ROWS = 256
"""Rows that an exported file computes at a time."""


@dataclass(frozen=True)
class Predictor:
    """What predicts.

    record: what is known of the model. input_shape: with the batch axis; None for several inputs. output_shape: with the
    batch axis; a list for several outputs. predict: takes rows and `augmentations`, as `Trainer.predict` does."""

    record: Record
    input_shape: Any
    output_shape: Any
    predict: Callable[..., Any]


def predictor(path: Path, *, trust: bool = False) -> Predictor:
    """Load what a path names. An exported directory needs no framework, unless only a framework runs its format.

    Raises `SavedModelError` and `UsageError` as `load_model` and `read_exported` do.
    """
    if is_exported(path):
        return of_exported(read_exported(path, trust=trust), path)
    from unidl import Trainer
    from unidl.runs.own_model import load_run

    model = load_run(path, trust=trust)
    if record_of(model).architecture is None:
        model.compile()  # prediction needs no loss, and a custom loss is not saved
    trainer = Trainer(model)
    taken = model.input_shape if isinstance(model.input_shape, tuple) else None
    return Predictor(record_of(model), taken, model.output_shape, trainer.predict)


def of_exported(read: ExportedFiles, path: Path) -> Predictor:
    """Return an exported directory as what predicts."""
    opened = read.opened()

    def predict(x: Any, *, augmentations: int | None = None) -> Any:
        if augmentations is not None:
            raise UsageError(
                f"Cannot use --augmentations with {path}: an exported file has no augmentation. Use the run."
            )
        return computed(opened, x)

    interface = read.description.interface
    inputs, outputs = ([tensor.shape for tensor in tensors] for tensors in (interface.inputs, interface.outputs))
    return Predictor(
        read.record, inputs[0] if len(inputs) == 1 else None, outputs[0] if len(outputs) == 1 else outputs, predict
    )


def computed(model: Computes, x: Any) -> Any:
    """Return the outputs for rows: one array, or arrays by their names where there are several.

    x: an array, or arrays by the names of the inputs, or a list of them."""
    tensors = model.interface.inputs
    if isinstance(x, dict):
        missing = [tensor.name for tensor in tensors if tensor.name not in x]
        if missing:
            raise DataError(f"Cannot predict: the input {missing[0]!r} is missing among {', '.join(x)}.")
        x = [x[tensor.name] for tensor in tensors]
    leaves = list(x) if isinstance(x, list | tuple) else [x]
    if len(leaves) != len(tensors):
        raise ModelError(f"Cannot predict: the model has {len(tensors)} inputs, and {len(leaves)} were passed.")
    leaves = [np.asarray(leaf).astype(tensor.dtype) for leaf, tensor in zip(leaves, tensors, strict=True)]
    for leaf, tensor in zip(leaves, tensors, strict=True):
        wanted = tensor.shape[1:]
        fits = leaf.ndim == len(tensor.shape) and all(
            size in (None, found) for size, found in zip(wanted, leaf.shape[1:], strict=True)
        )
        if not fits:
            raise DataError(f"Cannot predict: {tensor.name!r} takes rows of shape {wanted}, not {leaf.shape[1:]}.")
    parts = [model.outputs([leaf[first : first + ROWS] for leaf in leaves]) for first in range(0, len(leaves[0]), ROWS)]
    found = [np.concatenate(values) for values in zip(*parts, strict=True)]
    names = (tensor.name for tensor in model.interface.outputs)
    return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))
