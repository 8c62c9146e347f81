"""Bases of transfer models: networks of keras.applications, unidl models, and other Keras models."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError
from unidl.models import builders
from unidl.models.arguments import Arguments, close_names
from unidl.models.records import Architecture, record_of

if TYPE_CHECKING:
    import keras

    from unidl.data.tokenizer import Tokenizer

DEFAULT_SHAPE = (224, 224, 3)
"""Image shape on which most networks of keras.applications were trained."""
DEEPEST = 3
"""Maximum nesting of transfer models used as bases."""
WIDEST = 2**23
"""Maximum features per row of a unidl base: 32 MiB in float32. Its head, built and then removed, has as many
weights."""


@dataclass(frozen=True)
class Base:
    """A network that maps inputs to features, not frozen yet."""

    model: keras.Model
    argument: Any = None
    """JSON value that identifies it in the record; None if it cannot be rebuilt."""
    application: Callable[..., keras.Model] | None = None
    """The function of keras.applications that built it and whose preprocessing it requires."""
    weights_missing: bool = False
    """Whether its initial weights have not been drawn yet."""
    vocabulary: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    """Value range of the images it was trained on."""
    scaling: tuple[Any, Any] | None = None
    """What images from 0 to 255 are multiplied by, and what is added, before a backbone of KerasHub."""
    gives_vectors: bool = False
    """Whether its features are one vector a row already."""
    tokenizer: Tokenizer | None = None

    @property
    def is_named_for_images(self) -> bool:
        """Whether it takes images as unidl gives them, with values from 0 to 1, because it is known how to scale
        them."""
        return self.application is not None or self.scaling is not None


def from_model(model: keras.Model, precision: str | None) -> Base:
    """Use a model as a base. A unidl model is copied without its head; any other model is shared unchanged."""
    record = record_of(model)
    if record.architecture is None:
        return Base(model, value_range=record.value_range)
    base = from_architecture(record.architecture, precision, model)
    value_range = record.value_range or base.value_range
    return replace(base, vocabulary=record.vocabulary, value_range=value_range, tokenizer=record.tokenizer)


def from_architecture(architecture: Architecture, precision: str | None, original: keras.Model | None = None) -> Base:
    """Build a unidl model without its head, with the weights of `original` if given.

    Without its dropout and its augmentation, which would make the features of a frozen base random.
    """
    import keras

    from unidl.models.rebuilding import build

    _refuse_deep(architecture)
    builder = builders.builder(architecture.builder)
    if builder.head is None or builder.smallest_head is None:
        raise ModelError(
            f"Cannot use a model of {builder.function} as a base: the builder does not declare where its features "
            f"end. Remove the head "
            "yourself and pass keras.Model(model.input, model.get_layer(...).output)."
        )
    told: dict[str, Any] = {"precision": precision, "dropout": 0.0, "augment": None}
    arguments = {**architecture.arguments, **{name: told[name] for name in told if name in builder.arguments}}
    # A file has no weights for the head: build it as small as possible, so that it takes no memory before its removal.
    head = dict(builder.smallest_head(architecture.arguments)) if original is None else dict[str, Any]()
    model = build(replace(architecture, arguments=arguments | head))
    if original is not None:
        for weight, source in zip(model.weights, original.weights, strict=True):
            # A copy, since a training loop may donate the buffers of its model.
            weight.assign(keras.ops.copy(source.value))
    features = model.get_layer(builder.head(arguments)).input
    argument = {"builder": architecture.builder, "arguments": arguments}
    _refuse_wide(features, builder.function)
    value_range = record_of(model).value_range
    vectors = len(features.shape) == 2 and isinstance(model.input, Mapping)
    found = keras.Model(model.input, features, name=model.name)
    return Base(found, argument, value_range=value_range, gives_vectors=vectors)


def unstored_head(architecture: Architecture) -> int:
    """Return the maximum number of parameters in the heads of its bases, which are removed and not saved."""
    models, base = 0, architecture.arguments.get("base")
    while isinstance(base, Mapping) and models < DEEPEST:
        arguments = base.get("arguments")
        models, base = models + 1, arguments.get("base") if isinstance(arguments, Mapping) else None
    return 2 * models * WIDEST


def _refuse_deep(architecture: Architecture) -> None:
    """Raise `ModelError` if transfer models are nested too deeply."""
    base: Any = architecture.arguments.get("base")
    for _ in range(DEEPEST):
        if not isinstance(base, Mapping):
            return
        arguments = base.get("arguments")
        base = arguments.get("base") if isinstance(arguments, Mapping) else None
    raise ModelError(
        f"Cannot use this base: transfer models are nested more than {DEEPEST} deep. Use one of the inner "
        "models as the base."
    )


def _refuse_wide(features: Any, function: str) -> None:
    width = math.prod(size or 1 for size in features.shape[1:])
    if width > WIDEST:
        raise ModelError(
            f"Cannot use this model of {function} as a base: it has {width:,} features per row; at most "
            f"{WIDEST:,} are allowed. Add pooling layers, or use smaller images."
        )


def from_application(
    name: str, shape: tuple[int, ...], weights: str | None, policy: str, asked: Arguments, *, load: bool
) -> Base:
    """Build a network of keras.applications without its classifier. load: whether to load its weights."""
    import keras

    known = applications()
    if name not in known:
        because = (
            f"it is neither a directory nor a network of keras.applications. {close_names(name, sorted(known))}.\n"
            "A preset of KerasHub, such as 'bert_tiny_en_uncased', or a keras.Model can also be the base"
        )
        raise asked.refused("base", name, because)
    application = known[name]
    if shape[-1] != 3:
        because = f"{name} takes images with 3 channels; for grayscale images use np.repeat(images, 3, axis=-1)"
        raise asked.refused("input_shape", shape, because)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)  # the applications take no dtype argument
    try:
        model = _built(application, shape, weights if load and weights == "imagenet" else None, asked)
        if load and weights not in (None, "imagenet"):
            _load_file(model, weights, asked)
        model = _without_chance(model)
        if weights == "imagenet" and not load:
            model = _as_for_imagenet(model, application)
    finally:
        keras.config.set_dtype_policy(before)
    return Base(model, name, application, weights_missing=weights is None or not load)


def applications() -> dict[str, Callable[..., keras.Model]]:
    """Return the functions of keras.applications that build a network, by name."""
    import keras

    found: dict[str, Any] = {
        name: value
        for name, value in vars(keras.applications).items()
        if callable(value) and "include_top" in signature(value).parameters
    }
    return found


def _built(
    application: Callable[..., keras.Model], shape: tuple[int, ...], weights: str | None, asked: Arguments
) -> keras.Model:
    try:
        return application(include_top=False, weights=weights, input_shape=shape)
    except ModelError:
        raise
    except Exception as error:
        # Keras raises a bare Exception for a failed download, and a ValueError for a wrong hash or shape.
        failures = ("URL fetch failure", "Incomplete or corrupted")
        if isinstance(error, OSError) or str(error).startswith(failures):
            cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
            because = (
                f"the weights of {application.__name__} could not be downloaded: {error}\n"
                f"Download the file at that URL to {cache}, Keras's cache folder; or pass "
                "weights= the path of a weights file, or None for random weights"
            )
            raise asked.refused("weights", weights, because) from error
        if isinstance(error, ValueError):
            because = f"{application.__name__} rejects it: {error}"
            raise asked.refused("input_shape", shape, because) from error
        raise


def _without_chance(model: keras.Model) -> keras.Model:
    """Return the network without its layers that are random during training.

    The features of a frozen base must be the same in every epoch. Calling it with
    training=False is not enough: `fit` overrides that in a functional model (keras issue #20285).
    """
    names = ("Dropout", "StochasticDepth")
    if not any(type(layer).__name__ in names for layer in model.layers):
        return model
    return _called_through(
        lambda layer, *inputs, **options: inputs[0] if type(layer).__name__ in names else layer(*inputs, **options),
        model,
    )


def _as_for_imagenet(model: keras.Model, application: Callable[..., keras.Model]) -> keras.Model:
    """Return the network as weights="imagenet" builds it, but without those weights.

    Only EfficientNet depends on `weights` when it is built: it corrects the normalization of
    its inputs for the published weights (Keras 3.15.1, applications/efficientnet.py; tensorflow #49930).
    """
    import keras

    deviations = getattr(sys.modules[application.__module__], "IMAGENET_STDDEV_RGB", None)
    if deviations is None:
        return model

    def call(layer: keras.layers.Layer, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        if isinstance(layer, keras.layers.Normalization):
            rescaling: Any = keras.layers.Rescaling
            return rescaling([deviation**-0.5 for deviation in deviations])(outputs)
        return outputs

    return _called_through(call, model)


def _called_through(call: Callable[..., Any], model: keras.Model) -> keras.Model:
    """Return the same network with the same weights, with each layer called through `call(layer, *inputs)`."""
    import keras

    changed = keras.models.clone_model(model, call_function=call)
    for weight, source in zip(changed.weights, model.weights, strict=True):
        weight.assign(source.value)
    return changed


def _load_file(model: keras.Model, path: str, asked: Arguments) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns about some missing weights
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        because = f"the file does not contain the weights of {model.name} without its classifier: {error}"
        raise asked.refused("weights", path, because) from error
