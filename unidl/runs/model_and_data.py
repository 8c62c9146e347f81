"""The model and the data of a run, fitted to each other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.data.classes import class_count
from unidl.errors import DataError, ModelError, UsageError
from unidl.runs.own_model import own_model_and_data
from unidl.shortening import listed

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split
    from unidl.data.tokenizer import Tokenizer
    from unidl.models import Builder
    from unidl.runs.configuration import RunConfiguration
    from unidl.runs.own_model import Given

VALIDATION_FRACTION = 0.1
"""Fraction of the training rows held out for early stopping: the test rows must not influence training."""

SETTINGS = ("dropout", "augment", "lora_rank", "seed")
"""The settings of a run that are arguments of its builder, if it takes them."""

APPLICATION_SIDE = 224
"""Height and width at which most networks of keras.applications were trained."""


def model_and_data(
    configuration: RunConfiguration, *, trust: bool = False
) -> tuple[keras.Model, Dataset, Given | None]:
    """Load the data and build the model for it; return both, and the arguments of a user's function.

    trust: whether models in Keras's own format may be loaded. Raises `UsageError` or `DataError` if they do not match.
    """
    from unidl import load_data

    builder = configuration.builder
    size = _square(configuration.image_size)
    if builder is None:
        return own_model_and_data(configuration, size, trust=trust)
    settings = {name: getattr(configuration, name) for name in SETTINGS if name in builder.arguments}
    if builder.base is not None:
        return *_on_a_base(builder, configuration, settings, trust=trust), None
    data = load_data(configuration.data, image_size=size, **configuration.data_options())
    require_suitable(data, builder)
    return builder.build(**facts(data, builder.from_data), **settings), data, None


def facts(data: Dataset, names: Collection[str]) -> dict[str, Any]:
    """Return the arguments of a builder that the data determines. names: the required ones.

    Raises `DataError` if one of them cannot be determined.
    """
    found = _facts_of_rows(data, names) if data.table is None else data.table.arguments()
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"'{data.name}' does not determine the {missing[0]} that the model needs: it is {data.kind}.")
    return {name: found[name] for name in names}


def _facts_of_rows(data: Dataset, names: Collection[str]) -> dict[str, Any]:
    rows = data.train.x.shape[1:]
    found: dict[str, Any] = {"input_shape": rows}
    if data.vocabulary:
        found["vocabulary_size"] = len(data.vocabulary)
    if len(rows):
        found |= {"sequence_length": rows[0], "features": rows[-1]}
    if "targets" in names:
        found["targets"] = 1 if data.train.y.ndim == 1 else data.train.y.shape[-1]
    if "classes" in names:
        found["classes"] = class_count(data)
    return found


def training_and_validation(data: Dataset, *, early_stopping: bool, seed: int) -> tuple[Split, Split]:
    """Return the training rows, and the rows evaluated after each epoch: the test rows unless early stopping uses
    them."""
    if not early_stopping:
        return data.train, data.test
    from unidl.data.dataset import take
    from unidl.random import stream

    order = stream(seed, "validation rows").permutation(len(data.train))
    held_out = max(1, round(VALIDATION_FRACTION * len(order)))
    if held_out == len(order):
        raise DataError(f"'{data.name}' has 1 row for training, too few to hold some out for --early-stopping.")
    return take(data.train, order[held_out:]), take(data.train, order[:held_out])


def _on_a_base(
    builder: Builder, configuration: RunConfiguration, settings: dict[str, Any], *, trust: bool
) -> tuple[keras.Model, Dataset]:
    import keras

    from unidl import load_data, load_model
    from unidl.data.value_range import dataset_in_range
    from unidl.models.finding import is_of_hub, read_backbone
    from unidl.models.records import record_of

    name = str(configuration.base)
    base: Any = name
    size = _square(configuration.image_size)
    weights = None if configuration.weights == "none" else configuration.weights
    tokenizer = None
    if is_of_hub(name):
        base = read_backbone(name, load=weights is not None)
        shape, tokenizer = base.image_shape(APPLICATION_SIDE if size is None else size[0]), base.tokenizer
    elif Path(name).is_dir() or name.endswith(".keras"):
        base = load_model(name, trust=trust)
        tokenizer = record_of(base).tokenizer
        shape = None if tokenizer is not None else _image_shape(base, name)
        if shape is not None and size not in (None, shape[:2]):
            raise UsageError(
                f"Cannot use --image-size {configuration.image_size}: {name} takes images of {shape[0]} x "
                f"{shape[1]} (height x width). Leave it out."
            )
    else:
        height, width = size or (APPLICATION_SIDE, APPLICATION_SIDE)
        shape = (height, width, 3)
    options = configuration.data_options()
    if shape is None:
        data = _texts(configuration, tokenizer, name)
        return builder.build(base, None, class_count(data), weights=weights, **settings), data
    data = load_data(configuration.data, image_size=shape[:2], channels=shape[2], **options)
    require_suitable(data, builder)
    if isinstance(base, keras.Model):
        data = dataset_in_range(data, record_of(base).value_range, f"the base {name}")
    return builder.build(base, shape, **_head(data, builder), weights=weights, **settings), data


def _head(data: Dataset, builder: Builder) -> dict[str, Any]:
    """Return what is predicted: the number of classes, or of values where y does not hold labels, or heads with the
    classes of each."""
    y = data.train.y
    if isinstance(y, dict):
        return {"heads": {name: len(names) or 1 for name, names in data.train.head_names.items()}}
    if has_several_labels(data):
        return {"labels": y.shape[1]}
    if "targets" in builder.arguments and not data.class_names and y.dtype.kind == "f":
        return {"targets": 1 if y.ndim == 1 else y.shape[-1]}
    return {"classes": class_count(data)}


def has_several_labels(data: Dataset) -> bool:
    """Return whether a row may have any number of labels: y of shape (n, labels) is 0 and 1."""
    y = data.train.y
    return bool(data.class_names) and getattr(y, "ndim", 1) == 2 and y.dtype.kind == "f"


def _texts(configuration: RunConfiguration, tokenizer: Tokenizer | None, name: str) -> Dataset:
    """Return the texts of a run as the ids that its base reads."""
    from unidl import load_data

    if tokenizer is None:
        raise DataError(f"Cannot read texts for the base {name}: it has no tokenizer that unidl can use.")
    if configuration.image_size is not None:
        raise UsageError(f"Cannot use --image-size: the base {name} reads texts. Leave it out.")
    data = load_data(configuration.data, tokenizer=tokenizer, **configuration.data_options())
    if data.train.tokenizer is None or not data.class_names:
        raise DataError(
            f"The base {name} reads texts, but '{data.name}' is {data.kind}. Pass texts in class folders, or a table "
            "and the name of its column of texts, --text COLUMN."
        )
    return data


def _image_shape(base: keras.Model, name: str) -> tuple[int, int, int]:
    shape = base.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ModelError(f"Cannot use {name} as a base for images: it takes rows of shape {shape[1:]}.")
    return shape[1:]


def _square(side: int | None) -> tuple[int, int] | None:
    return (side, side) if side else None


def require_suitable(data: Dataset, builder: Builder) -> None:
    """Raise `DataError` if the data does not suit a model with this task."""
    if isinstance(data.train.y, dict) and "heads" not in builder.arguments:
        raise DataError(
            f"`unidl train {builder.name}` predicts one thing for each row, and those of '{data.name}' have several: "
            f"{listed(data.train.y)}. Name one column, use `unidl train transfer`, or pass a model of your own with "
            "outputs of these names."
        )
    if has_several_labels(data) and "labels" not in builder.arguments:
        raise DataError(
            f"`unidl train {builder.name}` learns one class for each row, and those of '{data.name}' have several "
            "labels. Use `unidl train transfer`."
        )
    kind = "labelled text" if data.kind == "text" and data.class_names else data.kind
    needed = {"image classifier": "images", "text classifier": "labelled text", "language model": "text"}
    needed["table"] = "a table of numbers and categories"
    kind = needed["table"] if kind == "table" else kind
    wanted = needed.get(builder.task, kind)
    images = data.kind == "images" or (data.kind == "arrays" and data.train.x.ndim == 4)
    if kind != wanted and not (wanted == "images" and images):
        advice = (
            " Name its column of texts: --text COLUMN." if data.kind == "table" and wanted == "labelled text" else ""
        )
        raise DataError(f"`unidl train {builder.name}` needs {wanted}, but '{data.name}' is {kind}.{advice}")
