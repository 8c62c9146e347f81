"""Raw columns given to a model that was trained on a table: scaled and encoded as its training rows were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.models.records import record_of

if TYPE_CHECKING:
    import keras


def encoded_columns(model: keras.Model, x: Any) -> Any:
    """Return the input of the model for raw columns by name; anything else as it is."""
    table = record_of(model).table
    names = getattr(x, "keys", None)
    if table is None or not callable(names):
        return x
    given = {str(name) for name in names()}  # pyright: ignore[reportGeneralTypeIssues] - of a mapping or a DataFrame
    if given <= {"numbers", "categories"} and not given & set(table.names):
        return x
    columns = {name: x[name] for name in given & set(table.names)}
    if any(np.ndim(column) != 1 for column in columns.values()):
        return x
    return table.encoded(columns, "x")
