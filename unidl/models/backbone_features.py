"""The features of a backbone of KerasHub: which of its outputs, and how those of the tokens become one vector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unidl.data.tokenizer import MASK
from unidl.errors import ModelError
from unidl.hub import keras_hub
from unidl.models.arguments import Arguments
from unidl.models.building import Tensor

if TYPE_CHECKING:
    import keras


def takes_tokens(backbone: keras.Model) -> bool:
    """Return whether a backbone reads texts, as token ids."""
    return isinstance(backbone.input, Mapping) and "token_ids" in backbone.input


def up_to_features(backbone: keras.Model, pooling: str | None, asked: Arguments) -> keras.Model:
    """Return a backbone up to one tensor of features, a vector a row if it reads tokens; as `pooling` says, or as suits
    the backbone, which is recorded in `asked`. Raises `ModelError` if it has no such features."""
    import keras

    outputs: Any = backbone.output
    vector = outputs.get("pooled_output") if isinstance(outputs, Mapping) else None
    features = outputs.get("sequence_output") if isinstance(outputs, Mapping) else outputs
    chosen = pooling or _usual_pooling(backbone, vector, features)
    asked.values["pooling"] = chosen
    if chosen == "pooled":
        if vector is None:
            because = f"the backbone '{backbone.name}' has no pooled output; use 'first' or 'average'"
            raise asked.refused("pooling", chosen, because)
        features = vector
    elif features is None or isinstance(features, list | tuple | dict):
        raise ModelError(
            f"Cannot use the backbone '{backbone.name}' as a base: its outputs are {sorted(outputs)}.\n"
            "Choose one: keras.Model(backbone.input, backbone.output[...])."
        )
    elif takes_tokens(backbone):
        features = _vector(features, backbone, chosen, asked)
    # Not the backbone's own name, which counts those of the process.
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(backbone).__name__).lower()
    return keras.Model(backbone.input, features, name=name)


def _usual_pooling(backbone: keras.Model, vector: Any, features: Any) -> str:
    """Return the pooling that suits a backbone: its own; the first token, or where each token sees only those before
    it, the average; for images the average, or the first place where that stands for the whole image."""
    if vector is not None:
        return "pooled"
    hub, kind = keras_hub(), type(backbone)
    if takes_tokens(backbone):
        return "average" if _has_task(hub.models.CausalLM, kind) else "first"
    if len(getattr(features, "shape", ())) == 3 and kind.__name__.startswith(("ViT", "DeiT", "DINO")):
        return "first"
    return "average"


def _has_task(task: Any, kind: type) -> bool:
    """Return whether KerasHub has a task of a sort for a class of backbones."""
    return any(getattr(each, "backbone_cls", None) is kind for each in task.__subclasses__())


def _vector(features: Tensor, backbone: keras.Model, pooling: str, asked: Arguments) -> Tensor:
    """Return one vector a row of the features of its tokens; padding counts nothing in an average."""
    import keras

    if pooling == "first":
        return features[:, 0]
    if pooling != "average":
        raise asked.refused("pooling", pooling, "for a backbone that reads tokens use 'first' or 'average'")
    inputs: Any = backbone.input
    mask = inputs.get(MASK)
    average = keras.layers.GlobalAveragePooling1D(data_format="channels_last", dtype=features.dtype, name="average")
    if mask is None:
        return average(features)
    return average(features, mask=keras.ops.cast(mask, "bool"))
