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

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset

Shape = tuple[int | None, ...] | None
"""Shape of the inputs with the batch axis; None for several inputs."""


def evaluation_data(model: keras.Model, run_directory: Path, name: str | None = None) -> Dataset:
    """Return data in the form, value range and class order that a saved model expects. name: as in `load_data`; None
    for the data of the run. Raises `UsageError` if the run has none, and `DataError` if the data does not fit."""
    shape = getattr(model, "input_shape", None)
    return data_in_form(record_of(model), shape if isinstance(shape, tuple) else None, run_directory, name)


def data_in_form(record: Record, shape: Shape, run_directory: Path, name: str | None = None) -> Dataset:
    """Return what `evaluation_data` returns, for a model of which only this is known."""
    from unidl import load_data

    source = name or _trained_on(run_directory)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras tells of its downloads
            form = _form(record, shape) if takes_options(source) else {}
            data = load_data(source, **_read_as(run_directory, record, name) | form)
    except UsageError as error:
        if record.table is not None:
            raise
        what = "text" if record.vocabulary or record.tokenizer else _size(shape)
        raise DataError(f"Cannot evaluate {run_directory} on '{source}': the model expects {what}.") from error
    known = record.class_names
    if known and data.class_names and data.class_names != known[: len(data.class_names)]:
        raise DataError(
            f"Cannot evaluate {run_directory} on '{source}': its classes are "
            f"{_list(data.class_names)}, but the model's are {_list(known)}."
        )
    return dataset_in_range(data, record.value_range, f"the model in {run_directory}") if name else data


def _read_as(run_directory: Path, record: Record, name: str | None) -> dict[str, Any]:
    """Return how the run has read its data; of other data, which columns of a table of texts it has read."""
    from unidl.runs.configuration import data_options
    from unidl.runs.own_model import configuration_of_run

    if record.table is not None:  # which says everything about a table
        return {}
    if name is None:
        return data_options(configuration_of_run(run_directory))
    if not name.lower().endswith(TABLE_SUFFIXES) or not (record.vocabulary or record.tokenizer):
        return {}
    read = configuration_of_run(run_directory)
    return {column: read[column] for column in ("text", "target") if read.get(column) is not None}


def _form(record: Record, shape: Shape) -> dict[str, Any]:
    """Return the arguments of `load_data` that convert data to the form of the model."""
    if record.table is not None:
        return {"table": record.table}
    if record.tokenizer is not None:
        return {"tokenizer": record.tokenizer, "sequence_length": record.tokenizer.sequence_length}
    if record.vocabulary:
        # A vocabulary built from another text would number the words differently.
        return {"vocabulary": record.vocabulary, "sequence_length": None if shape is None else shape[1]}
    if shape is not None and len(shape) == 4 and None not in shape[1:]:
        return {"image_size": shape[1:3], "channels": shape[3]}
    if shape is not None and len(shape) == 5 and None not in shape[1:]:
        return {"frames": shape[1], "image_size": shape[2:4], "channels": shape[4]}
    return {}


def _size(shape: Shape) -> str:
    if shape is None or len(shape) != 4:
        return f"rows of shape {None if shape is None else shape[1:]}"
    _, height, width, channels = shape
    return f"images of {height} x {width} x {channels} (height x width x channels)"


def _list(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _trained_on(run_directory: Path) -> str:
    from unidl.runs.own_model import configuration_of_run

    name = configuration_of_run(run_directory).get("data")
    if not isinstance(name, str):
        raise UsageError(f"{run_directory} does not record its training data. Pass --data.")
    return name
