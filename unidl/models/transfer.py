"""Transfer learning: a new classifier on top of a pretrained network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unidl.model_reading import read_model
from unidl.models import bases, made_up, records
from unidl.models.arguments import Arguments
from unidl.models.builder import Builder, Given, Recipe, Workload
from unidl.models.building import dropout_layer, finish, layers_in, softmax_head
from unidl.models.features import frozen_features, pooled
from unidl.paths import as_path

if TYPE_CHECKING:
    import keras

IMAGE_RANGE = (0.0, 1.0)
"""Value range of the images of a named base; the model converts it to what the base expects."""
POOLINGS = ("flatten", "average", "first")


def build_transfer(
    base: str | os.PathLike[str] | keras.Model = "VGG16",
    input_shape: Sequence[int] | None = None,
    classes: int = 10,
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    dense_units: int | None = 256,
    dropout: float = 0.0,
    pooling: str = "flatten",
    precision: str | None = None,
    seed: int = 0,
    name: str = "transfer",
) -> keras.Model:
    """Put a new classifier on a frozen network; `unidl.unfreeze` makes the network trainable later.

    The images of a named base are 0 to 1, red first, as everywhere in unidl: the model contains the preprocessing that
    the base expects. The batch normalization of the base keeps its statistics, also once it is unfrozen. Its dropout is
    left out; only a keras.Model that unidl did not build keeps its own.

    A backbone of keras_hub can be the base, once its output is a single tensor:
    `keras.Model(backbone.input, backbone.output["sequence_output"])`, with pooling="first".

    Args:
        base: A name of keras.applications; or a model of one of our builders, or a directory that Trainer.save wrote,
            which is copied up to its own head; or any other functional keras.Model, which is shared as it is, in its
            own precision, and frozen.
        input_shape: (height, width, 3) in pixels for a name. If None, (224, 224, 3) for a name; a model has its own.
        classes: Number of classes, at least 2.
        weights: The weights of a named base: "imagenet" (downloaded once), the path of a weights file, or None for
            random ones.
        dense_units: The units of a dense layer with ReLU before the classes; None for no such layer.
        dropout: Fraction to drop before the last layer; at least 0 and below 1.
        pooling: "flatten" the features, "average" them over places or steps, or take the "first" step.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled. It gives probabilities (batch, classes).

    Raises:
        ModelError: If such a model cannot be built.
        PrecisionError: If the precision is unknown, or the device cannot compute in it.

    Examples:
        >>> import unidl
        >>> base = unidl.build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=8)
        >>> model = unidl.build_transfer(base, classes=2, dense_units=5)
        >>> model.input_shape, model.output_shape
        ((None, 8, 8, 1), (None, 2))
    """
    return _transfer(
        base,
        input_shape,
        classes,
        weights=weights,
        dense_units=dense_units,
        dropout=dropout,
        pooling=pooling,
        precision=precision,
        seed=seed,
        name=name,
        load=True,
    )


def rebuild_transfer(arguments: Given) -> keras.Model:
    """Rebuild a model from the arguments in its record, without pretrained weights for the base."""
    base = arguments["base"]
    if isinstance(base, Mapping) and isinstance(base.get("arguments"), Mapping):
        arguments = {**arguments, "base": records.Architecture(base.get("builder", ""), base["arguments"])}
    return _transfer(**arguments, load=False)


def _transfer(
    base: Any,
    input_shape: Any,
    classes: Any,
    *,
    weights: Any,
    dense_units: Any,
    dropout: Any,
    pooling: Any,
    precision: Any,
    seed: Any,
    name: Any,
    load: bool,
) -> keras.Model:
    asked = Arguments("build_transfer")
    shape = asked.values["input_shape"] = None
    if input_shape is not None:
        shape = asked.wholes("input_shape", input_shape, ("height", "width", "channels"))
    classes = asked.whole("classes", classes, minimum=2)
    weights = _weights(asked, base, weights, load)
    dense_units = asked.whole_or_none("dense_units", dense_units, minimum=0)
    dropout = asked.fraction("dropout", dropout)
    pooling = asked.choice("pooling", pooling, POOLINGS)
    precision = asked.precision(precision)
    seed = asked.seed(seed)
    name = asked.model_name(name)

    with layers_in(precision) as policy:
        import keras

        found = _find(base, shape, weights, precision, policy, asked, load)
        frozen = found.model
        frozen.trainable = False
        inputs, features = frozen_features(found, shape, asked)
        values = pooled(features, pooling, policy, asked)
        asked.refuse_too_large(_parameters(frozen, values.shape[-1], dense_units or 0, classes))
        if dense_units:
            values = keras.layers.Dense(dense_units, activation="relu", dtype=policy, name="dense")(values)
        if dropout:
            values = dropout_layer(dropout, seed, "dropout", policy)(values)
        model = keras.Model(inputs, softmax_head(values, classes, policy), name=name)
        skip = () if found.weights_missing else (frozen,)
        asked.values["base"] = found.argument
        finish(model, "transfer" if found.argument else None, asked.values, skip=skip)
        value_range = IMAGE_RANGE if found.application is not None else found.value_range
        records.note(
            model,
            vocabulary=found.vocabulary,
            value_range=value_range,
            value_range_fixed=value_range is not None,
        )
        return model


def _weights(asked: Arguments, base: Any, weights: Any, load: bool) -> str | None:
    """Validate the argument `weights`."""
    if isinstance(weights, os.PathLike):
        weights = os.fspath(weights)
    if weights is not None and not isinstance(weights, str):
        raise asked.refused("weights", weights, "it must be 'imagenet', the path of a weights file, or None")
    asked.values["weights"] = weights
    if weights in (None, "imagenet") or not load:
        return weights
    weights = str(as_path(weights))
    if not isinstance(base, str):
        because = "only a base given by name takes weights; this one has its own"
        raise asked.refused("weights", weights, because)
    if not as_path(weights).is_file():
        because = "the file does not exist. 'imagenet' and None are also allowed"
        raise asked.refused("weights", weights, because)
    return weights


def _find(
    base: Any,
    shape: tuple[int, ...] | None,
    weights: str | None,
    precision: str | None,
    policy: str,
    asked: Arguments,
    load: bool,
) -> bases.Base:
    import keras

    if isinstance(base, records.Architecture):
        return bases.from_architecture(base, precision)
    if isinstance(base, keras.Model):
        return bases.from_model(base, precision)
    if not isinstance(base, str | os.PathLike):
        because = "it must be a name of keras.applications, a directory or a keras.Model"
        raise asked.refused("base", base, because)
    name = os.fspath(base)
    # A record never names a directory, so that a file cannot make unidl read another one.
    if load and name not in bases.applications() and as_path(name).is_dir():
        return bases.from_model(read_model(name), precision)
    return bases.from_application(name, shape or bases.DEFAULT_SHAPE, weights, policy, asked, load=load)


def _parameters(frozen: keras.Model, features: int, dense_units: int, classes: int) -> int:
    hidden = (features + 1) * dense_units
    return frozen.count_params() + hidden + ((dense_units or features) + 1) * classes


def _first_of_head(given: Given) -> str:
    # The operation that takes the first step is not a named layer: the layers after it are removed.
    pooling = given.get("pooling", "flatten")
    return "logits" if pooling == "first" else pooling


def _smallest_head(given: Given) -> Given:
    # With pooling='first' the dense layer is not removed.
    return {"classes": 2} if given.get("pooling") == "first" else {"classes": 2, "dense_units": 1}


TRANSFER = Builder(
    name="transfer",
    build=build_transfer,
    task="image classifier",
    from_data=("input_shape", "classes"),
    recipe=Recipe("digits", epochs=10, batch_size=32, learning_rate=1e-3, schedule="cosine"),
    head=_first_of_head,
    smallest_head=_smallest_head,
    base="VGG16",
    rebuild=rebuild_transfer,
    # Random weights, so that nothing is downloaded: verification does not depend on the weights.
    verified_with={"weights": None},
    workload=Workload(
        "transfer",
        "frozen VGG16, new head, images 64x64x3",
        build=lambda precision: build_transfer("VGG16", (64, 64, 3), weights=None, precision=precision),
        data=made_up.images(64, 64, 3),
        rows=128,
        batch_size=16,
        epochs=10,
        round_seconds=15.0,
        frozen_front=True,
    ),
)
