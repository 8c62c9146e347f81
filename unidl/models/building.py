"""Steps that all builders share: device and precision, the softmax output, and the initial weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unidl import devices, registry
from unidl import precision as precisions
from unidl.models import records
from unidl.models.initial_weights import drawn_later, initialise
from unidl.random import derived_seed

if TYPE_CHECKING:
    import keras

Tensor = Any
"""A keras.KerasTensor; Keras's annotations do not say so."""


@contextmanager
def layers_in(precision: str | None) -> Iterator[str]:
    """Select backend, device and precision for the layers built inside; their weights are not drawn yet.

    Yields the Keras dtype policy of the layers. Raises `BackendError`, `DeviceError` or `PrecisionError`.
    """
    backend = registry.current()
    device = devices.resolve().device
    policy = precisions.resolve(precision, device).dtype_policy
    with backend.on(device), drawn_later():
        yield policy


def dropout_layer(rate: float, seed: int, name: str, policy: str) -> keras.layers.Layer:
    """Return a dropout layer whose masks depend only on the model's seed and the layer's name, on every backend."""
    from unidl.layers import Dropout

    return Dropout(rate, seed=derived_seed(seed, "dropout", name), dtype=policy, name=name)


def softmax_head(features: Tensor, classes: int, policy: str) -> Tensor:
    """Return class probabilities in float32 under any policy.

    The logits are a separate layer, so that a loss can be computed from them.
    """
    import keras

    logits = keras.layers.Dense(classes, dtype=policy, name="logits")(features)
    return keras.layers.Activation("softmax", dtype="float32", name="probabilities")(logits)


def finish(
    model: keras.Model,
    builder: str | None,
    arguments: Mapping[str, Any],
    *,
    skip: Collection[keras.layers.Layer] = (),
) -> keras.Model:
    """Draw the initial weights, except those of the layers in `skip`, and record how the model was built.

    builder: None if these arguments cannot rebuild the model.
    """
    initialise(model, arguments["seed"], skip=skip)
    if builder is not None:
        records.note(model, architecture=records.Architecture(builder, dict(arguments)))
    return model
