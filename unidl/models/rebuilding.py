"""From the record of a model back to a model."""

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
    """Return how many parameters `build` would give the model, at most, before a layer is made.

    Of a model on a base that is not known before, and it is the most that any model may have. Raises `ModelError` as
    `build` does.
    """
    if builder(architecture.builder).base is None:
        try:
            with at_most(-UNSTORED):  # too large is then every model, and the error says how large
                build(architecture)
        except TooLargeError as error:
            return min(error.parameters, LARGEST_MODEL)
    return LARGEST_MODEL
