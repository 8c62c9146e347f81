"""Rebuilding a model from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.errors import ModelError
from unidl.models import records
from unidl.models.budget import LARGEST_MODEL, UNSTORED, TooLargeError, at_most
from unidl.models.builders import builder
from unidl.models.records import Architecture

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture) -> keras.Model:
    """Build the model that `architecture` describes, with the initial weights of its seed.

    The base of a transfer model gets no pretrained weights, and nothing is downloaded: the weights of the whole model
    are to be loaded next.

    Args:
        architecture: The builder by name, and its arguments.

    Returns:
        The model, not compiled.

    Raises:
        ModelError: If the builder or one of the arguments does not exist, or the arguments ask for a model that cannot
            exist.

    Examples:
        >>> from unidl.models import Architecture, build
        >>> build(Architecture("cnn", {"input_shape": (8, 8, 1), "classes": 4, "filters": (2,)})).output_shape
        (None, 4)
    """
    found = builder(architecture.builder)
    arguments = dict(architecture.arguments)
    unknown = [name for name in arguments if name not in found.arguments]
    if unknown:
        raise ModelError(
            f"Cannot build the model: {found.function} has no argument {unknown[0]!r}. It takes "
            f"{', '.join(found.arguments)}.\nThe model may come from another version of unidl."
        )
    model = found.build(**arguments) if found.rebuild is None else found.rebuild(found.arguments | arguments)
    records.note(model, architecture=architecture)
    return model


def size(architecture: Architecture) -> int:
    """Return the maximum number of parameters that `build` would create, before any layer is created.

    For a model with a base this is unknown in advance, and the limit for any model is returned. Raises `ModelError` as
    `build` does.
    """
    if builder(architecture.builder).base is None:
        try:
            with at_most(-UNSTORED):  # every model then exceeds the limit, and the error states its size
                build(architecture)
        except TooLargeError as error:
            return min(error.parameters, LARGEST_MODEL)
    return LARGEST_MODEL
