"""A model for data from a disk, and the rows of it that a comparison trains on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import UsageError
from unidl.models.builder import Workload

if TYPE_CHECKING:
    import keras

    from unidl.data import Split

LEAST_BATCHES = 8
"""Of an epoch, as with made-up arrays."""


def model_on_disk(command: Mapping[str, Any], work: Workload, precision: str) -> tuple[keras.Model, Split]:
    """Return the model of a cell in the form of its data, and as many rows as an epoch has, read when they are needed.

    The images of a folder are streamed whatever their size: what is measured is reading them. Raises `UsageError` or
    `DataError` if the data does not suit the model.
    """
    from unidl import load_data
    from unidl.data.dataset import take
    from unidl.models import builders
    from unidl.runs.model_and_data import facts, require_suitable

    builder = builders.find(command["model"])
    if builder is None or builder.base is not None:
        raise UsageError(f"Cannot use --data with {command['model']!r}: pass a model that is built for its data.")
    side = command["image_size"]
    options: dict[str, Any] = {"image_size": (side, side)} if side else {}
    if Path(command["data"]).is_dir():
        options["stream"] = True
    data = load_data(command["data"], **options)
    require_suitable(data, builder)
    batch_size = command["batch_size"]
    wanted = min(work.epoch_rows(batch_size, command["rows"]), len(data.train) // batch_size * batch_size)
    if wanted < LEAST_BATCHES * batch_size:
        raise UsageError(
            f"'{data.name}' has {len(data.train):,} training rows, fewer than {LEAST_BATCHES} batches of {batch_size}. "
            "Pass a smaller --batch-size."
        )
    rows = np.linspace(0, len(data.train) - 1, wanted).astype(np.int64)  # of all classes, which follow one another
    return builder.build(**facts(data, builder.from_data), precision=precision), take(data.train, rows)
