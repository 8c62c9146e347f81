"""Frozen and trainable layers: unfreezing a base, and recording which layers are frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.errors import ModelError
from unidl.layer_paths import walk
from unidl.models.arguments import close_names

if TYPE_CHECKING:
    import keras


def unfreeze(model: keras.Model, from_layer: str | None = None) -> int:
    """Let the base of a transfer model learn, too; return how many parameters of the model are trainable now.

    from_layer: this layer of the base and all that come after it in `base.layers`; None for the whole base.
    Batch normalization stays frozen, and so keeps the statistics it came with: the batches of a fine-tuning
    run are too few to replace them. Compile the model again, or make a new Trainer, before training goes on,
    with a learning rate 10 to 100 times smaller: Keras settles at compile time what an optimizer updates.
    Raises `ModelError` if the model has no base, or the base has no such layer.
    """
    import keras

    base = base_of(model)
    layers = _layers(base)
    names = [layer.name for layer in layers]
    if from_layer is not None and from_layer not in names:
        raise ModelError(
            f"Cannot unfreeze from_layer={from_layer!r}: the base '{base.name}' of the model '{model.name}' "
            f"has no layer of that name. {close_names(from_layer, names)}."
        )
    base.trainable = False  # on TensorFlow, assigning an unchanged value does not reach the inner layers
    base.trainable = True
    for layer in layers[: names.index(from_layer) if from_layer is not None else 0]:
        layer.trainable = False
    for _, layer in walk(base):
        # Only freezing runs it in inference mode: `fit` overrides training=False (keras issue #20285).
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def base_of(model: keras.Model) -> keras.Model:
    """Return the base of a transfer model: the one among its layers that is a model. Raises `ModelError`."""
    import keras

    found = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(found) != 1:
        raise ModelError(
            f"Cannot find the base of the model '{model.name}': {len(found)} of its layers are models; "
            "a model of build_transfer has exactly one."
        )
    return found[0]


def trainable_state(model: keras.Model) -> list[str]:
    """Return the paths of the frozen layers, those inside other layers as well, as a JSON value."""
    return [path for path, layer in walk(model) if not layer.trainable]


def set_trainable_state(model: keras.Model, state: Sequence[str]) -> None:
    """Freeze exactly the layers in `state`, as returned by `trainable_state` for an equal model.

    Raises `ModelError` if the model lacks one of them.
    """
    layers = dict(walk(model))
    unknown = [path for path in state if path not in layers]
    if unknown:
        raise ModelError(
            f"Cannot freeze the layer {unknown[0]!r}: the model '{model.name}' has no such layer. "
            f"{close_names(unknown[0], list(layers))}."
        )
    frozen = set(state)
    for path, layer in layers.items():  # parents first: setting one also sets its children
        layer.trainable = path not in frozen


def _layers(base: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the base in order; in place of a model among them, its layers."""
    import keras

    layers: list[keras.layers.Layer] = []
    for layer in base.layers:
        layers += _layers(layer) if isinstance(layer, keras.Model) else [layer]
    return layers
