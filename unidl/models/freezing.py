"""Which layers of a model learn: setting a frozen base free, and writing down what is frozen."""

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

    from_layer: this layer of the base and all that come after it in `base.layers`, or the first one of a block, such as
    "block5" for block5_conv1 and what follows; None for the whole base.
    Batch normalization stays frozen, and so keeps the statistics it came with: the batches of a fine-tuning
    run are too few to replace them. Compile the model again, or make a new Trainer, before training goes on,
    with a learning rate 10 to 100 times smaller: Keras settles at compile time what an optimizer updates.
    Raises `ModelError` if the model has no base, or the base has no such layer.
    """
    import keras

    base = base_of(model)
    layers = layers_in_order(base)
    names = [layer.name for layer in layers]
    first = 0 if from_layer is None else _place(names, from_layer)
    if first is None:
        raise ModelError(
            f"Cannot unfreeze from_layer={from_layer!r}: the base '{base.name}' of the model '{model.name}' "
            f"has no layer of that name. {close_names(str(from_layer), names)}."
        )
    base.trainable = False  # on TensorFlow, setting what is already set does not reach the layers inside
    base.trainable = True
    for layer in layers[:first]:
        layer.trainable = False
    for _, layer in walk(base):
        # Frozen is what runs it in inference mode: `fit` overrides a training=False (keras issue #20285).
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


HEAD, ALL = "head", "all"
"""Words for parts of a model, beside the names of its layers."""


def set_free(model: keras.Model, part: str) -> None:
    """Let a part of a model learn, and nothing before it.

    part: "head", what is behind the base of a transfer model; "all"; or the name of a layer or of a block of layers,
    from which on all learn. With a base it is as `unfreeze`, so that batch normalization stays frozen inside of it;
    without one, that of the layers before the part is frozen. Raises `ModelError` if there is no such part.
    """
    import keras

    if part == HEAD:
        base = base_of(model)
        base.trainable = True  # on TensorFlow, setting what is already set does not reach the layers inside
        base.trainable = False
        return
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        unfreeze(model, None if part == ALL else part)
        return
    names = [layer.name for layer in model.layers]
    first = 0 if part == ALL else _place(names, part)
    if first is None:
        raise ModelError(
            f"Cannot unfreeze {part!r}: the model '{model.name}' has no layer of that name. {close_names(part, names)}."
        )
    for layer in model.layers:
        layer.trainable = True
    for layer in model.layers[:first]:
        layer.trainable = False


def frozen_normalization(model: keras.Model) -> list[str]:
    """Return the paths of the layers of batch normalization that are frozen, and so run in inference mode."""
    import keras

    kinds = keras.layers.BatchNormalization
    return [path for path, layer in walk(model) if isinstance(layer, kinds) and not layer.trainable]


def base_of(model: keras.Model) -> keras.Model:
    """Return the base of a transfer model: the one among its layers that is a model. Raises `ModelError`."""
    import keras

    found = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(found) != 1:
        raise ModelError(
            f"Cannot find the base of the model '{model.name}': {len(found)} of its layers are models, and "
            "in a model of build_transfer one is."
        )
    return found[0]


def trainable_state(model: keras.Model) -> list[str]:
    """Return the paths of the frozen layers, those inside other layers as well, as a JSON value."""
    return [path for path, layer in walk(model) if not layer.trainable]


def set_trainable_state(model: keras.Model, state: Sequence[str]) -> None:
    """Freeze exactly the layers in `state`, which `trainable_state` gave for an equal model.

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
    for path, layer in layers.items():  # parents first: setting one sets all that is inside
        layer.trainable = path not in frozen


def _place(names: Sequence[str], wanted: str) -> int | None:
    """Where the layer of a name is, or the first one of a block of layers; None if there is none."""
    if wanted in names:
        return names.index(wanted)
    return next((place for place, name in enumerate(names) if name.startswith(f"{wanted}_")), None)


def layers_in_order(base: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model in order; in place of a model among them, its layers."""
    import keras

    layers: list[keras.layers.Layer] = []
    for layer in base.layers:
        layers += layers_in_order(layer) if isinstance(layer, keras.Model) else [layer]
    return layers
