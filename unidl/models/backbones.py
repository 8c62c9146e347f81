"""Backbones of KerasHub as bases: given as a model, by the name of a preset, or by the folder of one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.tokenizer import Tokenizer
from unidl.errors import ModelError
from unidl.hub import keras_hub
from unidl.models.arguments import Arguments, close_names
from unidl.models.backbone_features import takes_tokens, up_to_features
from unidl.models.pretrained_tokenizers import tokenizer_of
from unidl.paths import as_path

if TYPE_CHECKING:
    import keras

KEY = "keras_hub"
"""The key of a base in a record that holds the name of its class."""
CONFIGURATION = "config.json"
SPREAD = 0.02
"""Standard deviation of random weights whose layer does not say it, as of BERT's."""


@dataclass(frozen=True)
class Found:
    """A backbone, and how its images are scaled.

    scale, offset: what values from 0 to 255 are multiplied by, and what is added, by channel; None for values that it
    takes as they are.
    """

    backbone: keras.Model
    scale: Any = None
    offset: Any = None
    weights_missing: bool = False
    tokenizer: Tokenizer | None = None

    def image_shape(self, side: int) -> tuple[int, int, int] | None:
        """Return the shape of its images, of this height and width where it takes any; None if it reads tokens."""
        if not _takes_images(self.backbone):
            return None
        height, width, channels = self.backbone.inputs[0].shape[1:]
        return height or side, width or side, channels


@dataclass(frozen=True)
class Recorded:
    """A backbone as a record describes it: the name of its class, and its configuration."""

    values: Mapping[str, Any]


def is_backbone(model: Any) -> bool:
    """Return whether a value is a backbone; without KerasHub, nothing is."""
    hub = sys.modules.get("keras_hub")
    return hub is not None and isinstance(model, hub.models.Backbone)


def looks_like_preset(name: str) -> bool:
    """Return whether a name is written as those of presets are: bert_tiny_en_uncased, hf://user/model."""
    return "://" in name or (
        re.fullmatch(r"[a-z0-9._-]*_[a-z0-9._-]*", name) is not None and not name.endswith(".keras")
    )


def read(name: str, asked: Arguments, *, load: bool = True, shape: tuple[int, ...] | None = None) -> Found:
    """Return the backbone of a preset or of a folder with one. load: whether with its weights.

    shape: of images, where the backbone takes any. Raises `ModelError` if there is none, or it cannot be downloaded.
    """
    hub = keras_hub()
    known = hub.models.Backbone.presets
    if is_folder(name):
        name = str(as_path(name))
        _refuse_code(name, asked)
    elif "://" not in name and name not in known:
        because = f"KerasHub has no preset of this name. {close_names(name, sorted(known))}"
        raise asked.refused("base", name, because)
    try:
        options = {} if shape is None else {"image_shape": shape}
        backbone = hub.models.Backbone.from_preset(name, load_weights=load, **options)
        converter = _image_converter(hub, name) if _takes_images(backbone) else None
        tokenizer = tokenizer_of(name, backbone) if takes_tokens(backbone) else None
    except Exception as error:  # each place that files come from raises errors of its own
        raise asked.refused("base", name, _why_unread(name, error)) from error
    if converter is None:
        return Found(backbone, weights_missing=not load, tokenizer=tokenizer)
    return Found(backbone, converter.scale, converter.offset, weights_missing=not load)


def is_folder(name: str) -> bool:
    """Return whether there is a folder with a backbone: in the format of Hugging Face, or of KerasHub's presets."""
    return (as_path(name) / CONFIGURATION).is_file()


def _refuse_code(folder: str, asked: Arguments) -> None:
    """Raise `ModelError` for a folder whose configuration names classes that are not those of KerasHub and Keras."""
    try:
        waiting = [read_configuration(folder)]
    except (OSError, ValueError) as error:
        raise asked.refused("base", folder, f"its {CONFIGURATION} is damaged: {error}") from error
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            package = str(found.get("module") or "keras").partition(".")[0]
            if package not in ("keras", "keras_hub"):
                raise asked.refused("base", folder, f"its {CONFIGURATION} names a class of {package!r}")
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def read_configuration(folder: str) -> Any:
    """Return what a folder says of its backbone, without building it."""
    return json.loads((as_path(folder) / CONFIGURATION).read_text("utf-8"))


def _image_converter(hub: Any, name: str) -> Any:
    try:
        return hub.layers.ImageConverter.from_preset(name)
    except (FileNotFoundError, ValueError):
        return None  # a preset without one: its backbone takes images as they are


def _why_unread(name: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(".")
    if is_folder(name):
        return f"KerasHub cannot read this folder: {reason}"
    return (
        f"its files could not be downloaded: {reason}.\n"
        "Download them where there is a network, and pass the path of their folder as base"
    )


def model_of(found: Found, pooling: str | None, policy: str, asked: Arguments, shape: Any = None) -> keras.Model:
    """Return the backbone up to one tensor of features, without its dropout, with weights of its own.

    The features of a backbone that reads tokens are one vector a row. Records in `asked` which pooling was used.
    Raises `ModelError` if it cannot be a base.
    """
    import keras

    backbone = found.backbone
    values = plain(backbone)
    if values is None:
        inside = backbone  # KerasHub builds it from other models: shared as it is
    else:
        inside = _built(type(backbone), _sized(values, backbone, shape, asked), policy)
        for weight, source in zip(inside.weights, backbone.weights, strict=True):
            # Through NumPy: on JAX a copy compiles a program for every shape.
            weight.assign(np.array(keras.ops.convert_to_numpy(source.value)))
        if found.weights_missing:
            _tell_initializers(inside)
    return up_to_features(inside, pooling, asked)


def from_record(recorded: Recorded, pooling: str | None, policy: str, asked: Arguments) -> tuple[Found, keras.Model]:
    """Return a recorded backbone, with weights that are still to be drawn or loaded. Raises `ModelError`."""
    hub = keras_hub()
    name, values = recorded.values.get(KEY), recorded.values.get("config")
    kind = getattr(hub.models, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or not issubclass(kind, hub.models.Backbone):
        raise asked.refused("base", name, f"KerasHub {hub.__version__} has no such backbone")
    if not isinstance(values, Mapping) or not all(map(_is_plain, values.values())):
        raise asked.refused("base", name, "its configuration must be numbers, words and lists of them")
    backbone = _built(kind, values, policy)
    _tell_initializers(backbone)
    scale, offset = recorded.values.get("scale"), recorded.values.get("offset")
    return Found(backbone, scale, offset, weights_missing=True), up_to_features(backbone, pooling, asked)


def argument_of(found: Found, model: keras.Model) -> dict[str, Any] | None:
    """Return the value that identifies the base in a record; None if KerasHub builds it from other models."""
    values = plain(found.backbone)
    if values is None:
        return None
    kind = type(found.backbone).__name__
    if "image_shape" in values:
        values["image_shape"] = list(model.inputs[0].shape[1:])
    kept = {KEY: kind, "config": _without_chance(values), "tokens": takes_tokens(found.backbone)}
    scaling = {"scale": found.scale, "offset": found.offset}
    return kept | {name: _listed(value) for name, value in scaling.items() if value is not None}


def plain(backbone: keras.Model) -> dict[str, Any] | None:
    """Return the configuration of a backbone, without its name and precision; None if it holds more than numbers,
    words and lists of them, or KerasHub does not know its class."""
    hub = keras_hub()
    kind = type(backbone)
    if getattr(hub.models, kind.__name__, None) is not kind:
        return None
    values = {name: _listed(value) for name, value in backbone.get_config().items() if name not in _SET_BY_US}
    return values if all(map(_is_plain, values.values())) else None


_SET_BY_US = ("name", "trainable", "dtype")


def _takes_images(backbone: keras.Model) -> bool:
    return len(backbone.inputs) == 1 and len(backbone.inputs[0].shape) == 4


def _built(kind: Any, values: Mapping[str, Any], policy: str) -> keras.Model:
    try:
        return kind(**_without_chance(values), dtype=policy)
    except ModelError:
        raise
    except Exception as error:  # KerasHub raises whatever its layers do
        raise ModelError(f"Cannot build the backbone {kind.__name__} of KerasHub: {error}") from error


def _sized(values: dict[str, Any], backbone: keras.Model, shape: Any, asked: Arguments) -> dict[str, Any]:
    """Return the configuration for images of a shape, where the backbone takes any."""
    if shape is None:
        return values
    own = tuple(values.get("image_shape") or (None,))
    if len(own) != len(shape) or any(size not in (None, wanted) for size, wanted in zip(own, shape, strict=True)):
        takes = ", ".join(str(tuple(given.shape[1:])) for given in backbone.inputs)
        raise asked.refused("input_shape", shape, f"the model '{backbone.name}' takes {takes}; leave input_shape out")
    return values | {"image_shape": list(shape)}


def _without_chance(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without dropout of any kind, so that the features of a frozen backbone stay the same."""
    return {name: 0.0 if "drop" in name and isinstance(value, float) else value for name, value in values.items()}


def _tell_initializers(backbone: keras.Model) -> None:
    """Name the distribution of the random weights whose layers do not, for `unidl.models.initialise`."""
    import keras

    from unidl.layer_paths import walk

    owners = {id(weight): layer for _, layer in walk(backbone) for weight in layer.weights}
    for weight in backbone.weights:
        layer, attribute = owners[id(weight)], f"{weight.name}_initializer"
        if not _is_undrawn(weight) or getattr(layer, attribute, None) is not None:
            continue
        own = getattr(layer, "initializer", None) or getattr(layer, "kernel_initializer", None)
        setattr(layer, attribute, own or keras.initializers.TruncatedNormal(stddev=SPREAD, seed=0))


def _is_undrawn(weight: Any) -> bool:
    import keras

    values = np.asarray(keras.ops.convert_to_numpy(weight.value))
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _listed(value: Any) -> Any:
    return [_listed(member) for member in value] if isinstance(value, list | tuple) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
