"""The data of a saved run, or other data in the form that its model takes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.data.load import takes_options
from unidl.data.table_files import TABLE_SUFFIXES
from unidl.data.value_range import dataset_in_range
from unidl.errors import DataError, UsageError
from unidl.models.records import Record, record_of
from unidl.runs.own_model import for_heads, form_of

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset

Shape = tuple[int | None, ...] | None
"""Shape of the inputs with the batch axis; None for several inputs."""


def evaluation_data(model: keras.Model, run_directory: Path, name: str | None = None) -> Dataset:
    """Return data in the form, value range and class order that a saved model expects. name: as in `load_data`; None
    for the data of the run. Raises `UsageError` if the run has none, and `DataError` if the data does not fit."""
    shape = getattr(model, "input_shape", None)
    data = data_in_form(record_of(model), shape if isinstance(shape, tuple) else None, run_directory, name)
    return for_heads(data, model)


def data_in_form(record: Record, shape: Shape, run_directory: Path, name: str | None = None) -> Dataset:
    """Return what `evaluation_data` returns, for a model of which only this is known."""
    from unidl import load_data

    source = name or _trained_on(run_directory)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras tells of its downloads
            form = form_of(record, shape) if takes_options(source) else {}
            data = load_data(source, **_read_as(run_directory, record, name) | form)
    except UsageError as error:
        if record.table is not None:
            raise
        what = "text" if record.vocabulary or record.tokenizer else _expected(shape)
        raise DataError(f"Cannot evaluate {run_directory} on '{source}': the model expects {what}.") from error
    _require_same_classes(f"{run_directory} on '{source}'", record, data)
    return dataset_in_range(data, record.value_range, f"the model in {run_directory}") if name else data


def _require_same_classes(what: str, record: Record, data: Dataset) -> None:
    """Raise `DataError` if a number would stand for another class than the model has learned."""
    heads = data.train.head_names
    pairs = {"": (data.class_names, record.class_names)} | {
        f" for {name!r}": (names, record.head_names.get(name, ())) for name, names in heads.items()
    }
    for where, (found, known) in pairs.items():
        if known and found and found != known[: len(found)]:
            raise DataError(
                f"Cannot evaluate {what}: its classes{where} are {_list(found)}, but the model's are {_list(known)}."
            )


def _read_as(run_directory: Path, record: Record, name: str | None) -> dict[str, Any]:
    """Return how the run has read its data; of another table, which columns it has read."""
    from unidl.runs.configuration import data_options
    from unidl.runs.own_model import configuration_of_run

    if record.table is not None:  # which says everything about a table
        return {}
    if name is None:
        return data_options(configuration_of_run(run_directory))
    if not name.lower().endswith(TABLE_SUFFIXES):
        return {}
    read = configuration_of_run(run_directory)
    return {column: read[column] for column in ("text", "target") if read.get(column) is not None}


def _expected(shape: Shape) -> str:
    """What rows of a shape are, in words."""
    kinds = {4: ("images", "height x width x channels"), 5: ("clips", "frames x height x width x channels")}
    if shape is None or len(shape) not in kinds:
        return f"rows of shape {shape}"
    what, axes = kinds[len(shape)]
    return f"{what} of {' x '.join(map(str, shape[1:]))} ({axes})"


def _list(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _trained_on(run_directory: Path) -> str:
    from unidl.runs.own_model import configuration_of_run

    name = configuration_of_run(run_directory).get("data")
    if not isinstance(name, str):
        raise UsageError(f"{run_directory} does not record its training data. Pass --data.")
    return name
