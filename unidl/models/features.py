"""The features of a frozen base, and their reduction to one vector per row."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl.errors import ModelError
from unidl.models.arguments import Arguments
from unidl.models.bases import DEFAULT_SHAPE, Base
from unidl.models.building import Tensor, augmented


def frozen_features(found: Base, shape: tuple[int, ...] | None, asked: Arguments) -> tuple[Any, Tensor]:
    """New inputs, one tensor or a nest of them, and what the base makes of them; augmented, if that is asked for."""
    import keras

    model = found.model
    outputs = getattr(model, "outputs", None)
    if not outputs:
        raise ModelError(
            f"Cannot use the model '{model.name}' as a base: its inputs are not defined.\n"
            "Wrap it: keras.Model(inputs, model(inputs)) with inputs = keras.Input(...)."
        )
    if len(outputs) > 1:
        raise ModelError(
            f"Cannot use the model '{model.name}' as a base: it has {len(outputs)} outputs instead of one.\n"
            'Choose one: keras.Model(model.input, model.output["..."]), or model.output[0] for a list.'
        )
    if found.application is not None:
        from unidl.models.preprocessing import preprocessed

        images = keras.Input(shape or DEFAULT_SHAPE, name="image", dtype="float32")
        return images, model(preprocessed(augmented(images, asked), found.application))
    if found.scaling is not None:
        images = keras.Input(model.inputs[0].shape[1:], name="image", dtype="float32")
        return images, model(_scaled(augmented(images, asked), *found.scaling))
    if shape is not None and [tuple(given.shape[1:]) for given in model.inputs] != [shape]:
        own = ", ".join(str(tuple(given.shape[1:])) for given in model.inputs)
        because = f"the model '{model.name}' takes {own}; leave input_shape out"
        raise asked.refused("input_shape", shape, because)
    nest = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(
        lambda given: keras.Input(given.shape[1:], dtype=given.dtype, name=given.name), nest
    )
    if asked.values["augment"] is not None and (found.value_range not in (None, (0.0, 1.0)) or len(model.inputs) > 1):
        because = f"it needs a base that takes images with values from 0 to 1, and '{model.name}' takes others"
        raise asked.refused("augment", asked.values["augment"], because)
    return inputs, model(augmented(inputs, asked))


def _scaled(images: Tensor, scale: Any, offset: Any) -> Tensor:
    """Return images with values from 0 to 1 as a backbone takes them. scale, offset: for values from 0 to 255."""
    import keras

    scale = np.asarray(1.0 if scale is None else scale, "float64") * 255
    rescaling: Any = keras.layers.Rescaling
    offset = 0.0 if offset is None else offset
    return rescaling(scale.tolist(), offset, dtype="float32", name="preprocessing")(images)


def pooled(features: Tensor, found: Base, policy: str, asked: Arguments) -> Tensor:
    """Return features of shape (batch, n) from the output of the base, as the argument `pooling` says."""
    import keras

    pooling = asked.values["pooling"] = asked.values["pooling"] or "flatten"
    shape = tuple(features.shape)
    if found.gives_vectors:
        return keras.layers.Flatten(data_format="channels_last", dtype=policy, name="flatten")(features)
    if pooling == "pooled":
        raise asked.refused("pooling", pooling, f"the base '{found.model.name}' does not pool its features itself")
    if pooling == "flatten":
        if None in shape[1:]:
            because = f"the features {shape} have no fixed size; use pooling='average', or a fixed input size"
            raise asked.refused("pooling", pooling, because)
        return keras.layers.Flatten(data_format="channels_last", dtype=policy, name="flatten")(features)
    if pooling == "first":
        if len(shape) != 3:
            because = f"the features {shape} are not a sequence of shape (batch, time, features)"
            raise asked.refused("pooling", pooling, because)
        return features[:, 0]
    averages = {
        3: keras.layers.GlobalAveragePooling1D,
        4: keras.layers.GlobalAveragePooling2D,
        5: keras.layers.GlobalAveragePooling3D,
    }
    if len(shape) not in averages:
        because = f"the features {shape} have no axis to average over; use pooling='flatten'"
        raise asked.refused("pooling", pooling, because)
    return averages[len(shape)](data_format="channels_last", dtype=policy, name="average")(features)
