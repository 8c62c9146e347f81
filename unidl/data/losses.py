"""Identification of the Keras loss of an output, and the targets for which that loss is defined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unidl.keras_internals import loss_options

if TYPE_CHECKING:
    import numpy as np

Targets = Literal["classes", "one_hot", "probabilities", "counts", "signs", "numbers", "sequences"]
"""classes: one class index per output. sequences: class indices, with 0 for padding. one_hot: a probability for each
class. probabilities: numbers from 0 to 1. counts: numbers of at least 0. signs: -1 and 1, or 0 and 1. numbers: any."""

TARGETS: dict[str, Targets] = {
    "sparse_categorical_crossentropy": "classes",
    "categorical_generalized_cross_entropy": "classes",
    "categorical_crossentropy": "one_hot",
    "categorical_focal_crossentropy": "one_hot",
    "categorical_hinge": "one_hot",
    "binary_crossentropy": "probabilities",
    "binary_focal_crossentropy": "probabilities",
    "kl_divergence": "probabilities",
    "dice": "probabilities",
    "tversky": "probabilities",
    "poisson": "counts",
    "hinge": "signs",
    "squared_hinge": "signs",
    "mean_squared_error": "numbers",
    "mean_absolute_error": "numbers",
    "mean_absolute_percentage_error": "numbers",
    "mean_squared_logarithmic_error": "numbers",  # Keras clips values below 0 to 0, equally on every backend
    "cosine_similarity": "numbers",
    "huber": "numbers",
    "log_cosh": "numbers",
    "ctc": "sequences",
}
"""By the name of Keras's function. Excluded: circle, which takes any whole numbers."""


@dataclass(frozen=True)
class KnownLoss:
    """A Keras loss: the name of its function, its arguments, and the targets it takes."""

    name: str
    options: Mapping[str, Any]
    targets: Targets


def known_loss(loss: Any, labels: np.ndarray, output: Any) -> KnownLoss | None:
    """Return which Keras loss `loss` is; None for a custom loss, whose targets are unknown.

    loss: the argument of `compile` for this output: a name, a function or an instance. output: the symbolic output that
    it compares with `labels`, or None.
    """
    import keras

    if isinstance(loss, str):
        if loss.lower() in ("crossentropy", "ce"):
            loss = _chosen_crossentropy(labels, output)
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None  # an unknown name: Keras raises an error that lists the known losses
    options: Mapping[str, Any] = {}
    if isinstance(loss, keras.losses.Loss):
        if (type(loss).call, type(loss).__call__) != _plain_calls():
            return None  # a class that overrides the computation
        options = loss_options(loss)
        loss = getattr(loss, "fn", None)
    name = getattr(loss, "__name__", "")
    if name not in TARGETS or loss is not getattr(keras.losses, name, None):
        return None
    return KnownLoss(name, options, TARGETS[name])


def _plain_calls() -> tuple[Any, Any]:
    """Return the methods of a loss that only calls its function."""
    import keras

    return keras.losses.MeanSquaredError.call, keras.losses.Loss.__call__


def _chosen_crossentropy(labels: np.ndarray, output: Any) -> str:
    """Return the loss that Keras selects for "crossentropy" according to the shapes."""
    shape = (None,) if output is None else tuple(output.shape)
    if shape[-1] == 1:
        return "binary_crossentropy"
    is_sparse = output is None or labels.ndim < len(shape) or labels.shape[-1] == 1
    return "sparse_categorical_crossentropy" if is_sparse else "categorical_crossentropy"
