"""The model and the data that `unidl train` was asked for, each made to fit the other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.cli.own_model import own_model_and_data
from unidl.cli.recipes import RECIPES
from unidl.data.classes import class_count
from unidl.errors import DataError, ModelError, UsageError
from unidl.model_function import model_function

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset, Split

VALIDATION_FRACTION = 0.1
"""Of the training rows, held out to decide when to stop early: the test rows must not decide anything."""

APPLICATION_SIDE = 224
"""Height and width at which most networks of keras.applications were trained."""

ONLY_FOR = {
    "base": ("transfer",),
    "trust": ("transfer",),
    "weights": ("transfer",),
    "precompute_frozen": ("transfer",),
    "image_size": ("cnn", "transfer"),
    "dropout": ("cnn", "lstm", "transfer"),
}
"""The options that mean something for some models only."""

FOR_OWN = ("precompute_frozen", "image_size")
"""Those of them that mean something for a model of somebody's own."""


def refuse_idle_options(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for an option that would do nothing."""
    for name, models in ONLY_FOR.items():
        own = arguments.model not in RECIPES
        if own and (name in FOR_OWN or (name == "trust" and model_function(arguments.model) is None)):
            continue
        if getattr(arguments, name) not in (None, False, 0.0) and arguments.model not in models:
            raise UsageError(
                f"Cannot use --{name.replace('_', '-')} with `unidl train {arguments.model}`: it is for "
                f"{' and '.join(f'`unidl train {model}`' for model in models)}. Leave it out."
            )


def model_and_data(arguments: argparse.Namespace, configuration: dict[str, Any]) -> tuple[keras.Model, Dataset]:
    """Load the data and build the model for it. configuration: of the run.

    Raises `UsageError` or `DataError` if they do not go together.
    """
    from unidl import build_cnn, build_lstm, load_data

    data_name = configuration["data"]
    if arguments.model not in RECIPES:
        return own_model_and_data(arguments, configuration, _square(arguments.image_size))
    settings = {"dropout": arguments.dropout, "seed": arguments.seed}
    if arguments.model == "transfer":
        return _transfer(arguments, data_name, settings)
    if arguments.model == "lstm":
        data = load_data(data_name)
        _require_kind(data, "text", arguments.model)
        return build_lstm(len(data.vocabulary), data.train.x.shape[1], **settings), data
    data = load_data(data_name, image_size=_square(arguments.image_size))
    _require_kind(data, "images", arguments.model)
    return build_cnn(data.train.x.shape[1:], class_count(data), **settings), data


def training_and_validation(data: Dataset, *, early_stopping: bool, seed: int) -> tuple[Split, Split]:
    """The rows to train on and the rows shown after each epoch: the test rows if nothing is decided by them."""
    if not early_stopping:
        return data.train, data.test
    from unidl.data.dataset import take
    from unidl.random import stream

    order = stream(seed, "validation rows").permutation(len(data.train))
    held_out = max(1, round(VALIDATION_FRACTION * len(order)))
    if held_out == len(order):
        raise DataError(f"'{data.name}' has 1 row for training, too few to hold some out for --early-stopping.")
    return take(data.train, order[held_out:]), take(data.train, order[:held_out])


def _transfer(arguments: argparse.Namespace, data_name: str, settings: dict[str, Any]) -> tuple[keras.Model, Dataset]:
    from unidl import build_transfer, load_data, load_model
    from unidl.data.value_range import dataset_in_range
    from unidl.models.records import record_of

    base: Any = arguments.base or "VGG16"
    size = _square(arguments.image_size)
    if Path(base).is_dir() or base.endswith(".keras"):
        base = load_model(base, trust=arguments.trust)
        shape = _image_shape(base, arguments.base)
        if size not in (None, shape[:2]):
            raise UsageError(
                f"Cannot use --image-size {arguments.image_size}: {arguments.base} takes images of {shape[0]} x "
                f"{shape[1]} (height x width). Leave it out."
            )
    else:
        height, width = size or (APPLICATION_SIDE, APPLICATION_SIDE)
        shape = (height, width, 3)
    data = load_data(data_name, image_size=shape[:2], channels=shape[2])
    _require_kind(data, "images", arguments.model)
    if not isinstance(base, str):
        data = dataset_in_range(data, record_of(base).value_range, f"the base {arguments.base}")
    weights = {None: "imagenet", "none": None}.get(arguments.weights, arguments.weights)
    return build_transfer(base, shape, class_count(data), weights=weights, **settings), data


def _image_shape(base: keras.Model, name: str) -> tuple[int, int, int]:
    shape = base.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ModelError(f"Cannot use {name} as a base for images: it takes rows of shape {shape[1:]}.")
    return shape[1:]


def _square(side: int | None) -> tuple[int, int] | None:
    return (side, side) if side else None


def _require_kind(data: Dataset, kind: str, model: str) -> None:
    images = data.kind == "images" or (data.kind == "arrays" and data.train.x.ndim == 4)
    if data.kind != kind and not (kind == "images" and images):
        raise DataError(f"`unidl train {model}` needs {kind}, and '{data.name}' is {data.kind}.")
