"""From the record of a model back to a model."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING

from unidl.errors import ModelError
from unidl.models import records
from unidl.models.budget import LARGEST_MODEL, UNSTORED, TooLargeError, at_most
from unidl.models.cnn import build_cnn
from unidl.models.lstm import build_lstm
from unidl.models.records import Architecture
from unidl.models.transfer import build_transfer, rebuild_transfer

if TYPE_CHECKING:
    import keras

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "cnn": build_cnn,
    "lstm": build_lstm,
    "transfer": build_transfer,
}
"""The builders by the names that an `Architecture` has for them."""


def build(architecture: Architecture) -> keras.Model:
    """Build the model that `architecture` describes, with the initial weights of its seed.

    The base of a transfer model gets no pretrained weights, and nothing is downloaded: the weights of the
    whole model are to be loaded next. Raises `ModelError` if the builder or one of the arguments does not
    exist, or the arguments ask for a model that cannot exist.
    """
    builder = _builder(architecture)
    arguments = dict(architecture.arguments)
    parameters = signature(builder).parameters
    unknown = [name for name in arguments if name not in parameters]
    if unknown:
        raise ModelError(
            f"Cannot build the model: build_{architecture.builder} has no argument {unknown[0]!r}. It takes "
            f"{', '.join(parameters)}.\nThe model may come from another version of unidl."
        )
    if builder is build_transfer:
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        model = rebuild_transfer(defaults | arguments)
    else:
        model = builder(**arguments)
    records.note(model, architecture=architecture)
    return model


def size(architecture: Architecture) -> int:
    """Return how many parameters `build` would give the model, at most, before a layer is made.

    Of a transfer model that is not known before, and it is the most that any model may have. Raises `ModelError` as
    `build` does.
    """
    if _builder(architecture) is not build_transfer:
        try:
            with at_most(-UNSTORED):  # too large is then every model, and the error says how large
                build(architecture)
        except TooLargeError as error:
            return min(error.parameters, LARGEST_MODEL)
    return LARGEST_MODEL


def _builder(architecture: Architecture) -> Callable[..., keras.Model]:
    if architecture.builder not in list(BUILDERS):
        raise ModelError(
            f"Cannot build the model: unknown builder {architecture.builder!r}. Known builders: "
            f"{', '.join(map(repr, BUILDERS))}."
        )
    return BUILDERS[architecture.builder]
