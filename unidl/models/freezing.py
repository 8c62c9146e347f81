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
    """Make the base of a transfer model trainable.

    Batch normalization stays frozen, and so keeps its statistics: the batches of a fine-tuning run are too few to
    replace them. Compile the model again, or make a new Trainer, before training continues, with a learning rate 10 to
    100 times smaller: Keras settles at compile time what an optimizer updates.

    Args:
        model: A model of `build_transfer`.
        from_layer: The name of a layer of the base: this layer and all later ones in `base.layers` become trainable. Or
            that of a block, such as "block5" for block5_conv1 and what follows. If None, the whole base.

    Returns:
        The number of trainable parameters of the model.

    Raises:
        ModelError: If the model has no base, or the base has no such layer.

    Examples:
        >>> import unidl
        >>> base = unidl.build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=8)
        >>> model = unidl.build_transfer(base, classes=2, dense_units=None)
        >>> unidl.unfreeze(model, from_layer="conv_2"), unidl.unfreeze(model)
        (53, 63)
    """
    import keras

    base = base_of(model)
    layers = layers_in_order(base)
    first = 0 if from_layer is None else _first_of_base(model, base, from_layer)
    base.trainable = False  # on TensorFlow, assigning an unchanged value does not reach the inner layers
    base.trainable = True
    for layer in layers[:first]:
        layer.trainable = False
    for _, layer in walk(base):
        # Only freezing runs it in inference mode: `fit` overrides training=False (keras issue #20285).
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    hold_all_but_factors(model)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def hold_all_but_factors(model: keras.Model) -> None:
    """Freeze all weights of a part with low-rank factors, except those, in every model among the layers of `model`.

    Keras freezes a kernel when it gets factors, but sets it free again with its layer.
    """
    import keras

    for part in model.layers:
        if not isinstance(part, keras.Model):
            continue
        weights = [weight for layer in layers_in_order(part) for weight in layer.weights]
        if any(weight.name.startswith("lora_") for weight in weights):
            for weight in weights:
                if not weight.name.startswith("lora_"):
                    weight.trainable = False


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
    first = 0 if part == ALL else _first_of_model(model, part)
    for layer in model.layers:
        layer.trainable = True
    for layer in model.layers[:first]:
        layer.trainable = False


def require_part(model: keras.Model, part: str) -> None:
    """Raise `ModelError` if `set_free` would, and change nothing."""
    import keras

    on_a_base = any(isinstance(layer, keras.Model) for layer in model.layers)
    base = base_of(model) if on_a_base or part == HEAD else None
    if part in (HEAD, ALL):
        return
    if base is None:
        _first_of_model(model, part)
    else:
        _first_of_base(model, base, part)


def _first_of_base(model: keras.Model, base: keras.Model, part: str) -> int:
    names = [layer.name for layer in layers_in_order(base)]
    first = _place(names, part)
    if first is None:
        raise ModelError(
            f"Cannot unfreeze from_layer={part!r}: the base '{base.name}' of the model '{model.name}' "
            f"has no layer of that name. {close_names(str(part), names)}."
        )
    return first


def _first_of_model(model: keras.Model, part: str) -> int:
    names = [layer.name for layer in model.layers]
    first = _place(names, part)
    if first is None:
        raise ModelError(
            f"Cannot unfreeze {part!r}: the model '{model.name}' has no layer of that name. {close_names(part, names)}."
        )
    return first


def frozen_normalization(model: keras.Model) -> list[str]:
    """Return the paths of the layers of batch normalization that are frozen, and so run in inference mode."""
    import keras

    kinds = keras.layers.BatchNormalization
    return [path for path, layer in walk(model) if isinstance(layer, kinds) and not layer.trainable]


def base_of(model: keras.Model) -> keras.Model:
    """Return the base of a transfer model, its only layer that is a model.

    Args:
        model: A model of `build_transfer`.

    Returns:
        The base, from its inputs to its features.

    Raises:
        ModelError: If none of its layers is a model, or several are.

    Examples:
        >>> import unidl
        >>> from unidl.models import base_of
        >>> base = unidl.build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=8)
        >>> base_of(unidl.build_transfer(base, classes=2)).trainable
        False
    """
    import keras

    found = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(found) != 1:
        raise ModelError(
            f"Cannot find the base of the model '{model.name}': {len(found)} of its layers are models; "
            "a model of build_transfer has exactly one."
        )
    return found[0]


def trainable_state(model: keras.Model) -> list[str]:
    """Return the paths of the frozen layers, those inside other layers as well, as a JSON value.

    Args:
        model: Any model.

    Returns:
        The paths, in the order of the layers.

    Examples:
        >>> import unidl
        >>> from unidl.models import trainable_state
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> model.get_layer("conv_1").trainable = False
        >>> trainable_state(model)
        ['conv_1']
    """
    return [path for path, layer in walk(model) if not layer.trainable]


def set_trainable_state(model: keras.Model, state: Sequence[str]) -> None:
    """Freeze exactly the layers in `state`, as returned by `trainable_state` for an equal model.

    Args:
        model: The model; all its other layers become trainable.
        state: The paths of the layers to freeze.

    Raises:
        ModelError: If the model lacks one of them.

    Examples:
        >>> import unidl
        >>> from unidl.models import set_trainable_state, trainable_state
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(2,), dense_units=4)
        >>> set_trainable_state(model, ["conv_1"])
        >>> trainable_state(model)
        ['conv_1']
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
    hold_all_but_factors(model)


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
