"""Transfer learning: a new classifier on top of a pretrained network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unidl.models import backbones, made_up, records
from unidl.models.arguments import Arguments
from unidl.models.bases import Base
from unidl.models.builder import Builder, Given, Recipe, Workload
from unidl.models.building import dropout_layer, finish, layers_in
from unidl.models.features import frozen_features, pooled
from unidl.models.finding import find, weights_of
from unidl.models.heads import KINDS, ask_head, outputs_in, outputs_of, refuse_taken
from unidl.models.low_rank import add_factors

if TYPE_CHECKING:
    import keras

IMAGE_RANGE = (0.0, 1.0)
"""Value range of the images of a named base; the model converts it to what the base expects."""
POOLINGS = ("flatten", "average", "first", "pooled")


def build_transfer(
    base: str | os.PathLike[str] | keras.Model = "VGG16",
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    *,
    labels: int | None = None,
    targets: int | None = None,
    heads: Mapping[str, int] | None = None,
    weights: str | os.PathLike[str] | None = "imagenet",
    dense_units: int | None = 256,
    dropout: float = 0.0,
    pooling: str | None = None,
    augment: str | None = None,
    lora_rank: int | None = None,
    precision: str | None = None,
    seed: int = 0,
    name: str = "transfer",
) -> keras.Model:
    """Put new last layers on a frozen network; `unidl.unfreeze` makes the network trainable later.

    The images of a named base are 0 to 1, red first, as everywhere in unidl: the model contains the preprocessing that
    the base expects. The batch normalization of the base keeps its statistics, also once it is unfrozen. Its dropout is
    left out; only a keras.Model that unidl did not build keeps its own.

    A backbone of KerasHub (`pip install 'unidl[hub]'`) is copied, too. One that reads texts takes what KerasHub's
    preprocessors give: a dict of token_ids, padding_mask and, for BERT, segment_ids, each of shape (n, tokens).

    Args:
        base: A name of keras.applications; or the name of a preset of KerasHub, such as "bert_tiny_en_uncased", or
            the path of a folder with one, or with a model in the format of Hugging Face (config.json,
            model.safetensors and the files of its tokenizer); or a model of one of our builders, or a directory that
            Trainer.save wrote, which is copied up to its own head; or a backbone of KerasHub; or any other functional
            keras.Model, which is shared as it is, in its own precision, and frozen.
        input_shape: (height, width, 3) in pixels for a name. If None, (224, 224, 3) for a name; a model has its own.
        classes: Number of classes, at least 2, of which a row has one. If None, and none of the three arguments below
            is given: 10.
        labels: Number of labels, of which a row may have any, instead of classes: y of shape (n, labels) is 0 and 1.
        targets: Number of values to predict for each row, instead of classes: y of shape (n, targets).
        heads: Several outputs, by their names, instead of classes: the number of classes of each, or 1 for a number,
            as in {"colour": 3, "size": 1}. y is a dict of such names; each has a loss of its own, and they are added.
        weights: The weights of a named base: "imagenet" (downloaded once; of a preset, its own), the path of a weights
            file, or None for random ones.
        dense_units: The units of a dense layer with ReLU before the classes; None for no such layer.
        dropout: Fraction to drop before the last layer; at least 0 and below 1.
        pooling: "flatten" the features, "average" them over places or steps without padding, take the "first" step, or
            what the backbone itself has "pooled". If None, the last for BERT, the first step for its relatives, the
            average for other backbones of KerasHub, and "flatten" for other bases.
        augment: Augmentation of the images in training, in the words of `unidl.layers.Augmentation`, such as
            "flip,rotation=0.1"; the images then have values from 0 to 1. None for no augmentation.
        lora_rank: The rank of factors beside the kernels of the base's dense layers, convolutions and embeddings, of
            which only they then learn: low-rank adaptation. None for no factors.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled. It gives probabilities (batch, classes), or what the arguments ask for.

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
        {"classes": classes, "labels": labels, "targets": targets, "heads": heads},
        weights=weights,
        dense_units=dense_units,
        dropout=dropout,
        pooling=pooling,
        augment=augment,
        lora_rank=lora_rank,
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
    elif isinstance(base, Mapping) and backbones.KEY in base:
        arguments = {**arguments, "base": backbones.Recorded(base)}
    head = {kind: arguments[kind] for kind in KINDS}
    others = {name: value for name, value in arguments.items() if name not in head}
    return _transfer(head=head, **others, load=False)


def _transfer(
    base: Any,
    input_shape: Any,
    head: Mapping[str, Any],
    *,
    weights: Any,
    dense_units: Any,
    dropout: Any,
    pooling: Any,
    augment: Any,
    lora_rank: Any,
    precision: Any,
    seed: Any,
    name: Any,
    load: bool,
) -> keras.Model:
    asked = Arguments("build_transfer")
    shape = asked.values["input_shape"] = None
    if input_shape is not None:
        shape = asked.wholes("input_shape", input_shape, ("height", "width", "channels"))
    predicted = ask_head(asked, head)
    weights = weights_of(asked, base, weights, load)
    dense_units = asked.whole_or_none("dense_units", dense_units, minimum=0)
    dropout = asked.fraction("dropout", dropout)
    pooling = asked.values["pooling"] = None if pooling is None else asked.choice("pooling", pooling, POOLINGS)
    asked.augmentation(augment)
    lora_rank = asked.whole_or_none("lora_rank", lora_rank)
    precision = asked.precision(precision)
    seed = asked.seed(seed)
    name = asked.model_name(name)

    with layers_in(precision) as policy:
        import keras

        found = find(base, shape, weights, precision, policy, asked, load)
        frozen = found.model
        frozen.trainable = False
        inputs, features = frozen_features(found, shape, asked)
        values = pooled(features, found, policy, asked)
        asked.refuse_too_large(_parameters(frozen, values.shape[-1], dense_units or 0, outputs_in(predicted)))
        if dense_units:
            values = keras.layers.Dense(dense_units, activation="relu", dtype=policy, name="dense")(values)
        if dropout:
            values = dropout_layer(dropout, seed, "dropout", policy)(values)
        refuse_taken(predicted, inputs, values, asked)
        model = keras.Model(inputs, outputs_of(predicted, values, policy), name=name)
        skip = () if found.weights_missing else (frozen,)
        asked.values["base"] = found.argument
        finish(model, "transfer" if found.argument else None, asked.values, skip=skip)
        if lora_rank is not None:
            _adapt(model, found, lora_rank, asked)
        value_range = IMAGE_RANGE if found.is_named_for_images else found.value_range
        records.note(
            model,
            vocabulary=found.vocabulary,
            tokenizer=found.tokenizer,
            value_range=value_range,
            value_range_fixed=value_range is not None,
        )
        return model


def _adapt(model: keras.Model, found: Base, rank: int, asked: Arguments) -> None:
    """Give the base factors of low rank; one that is shared with its owner would be changed."""
    if found.argument is None:
        because = f"the base '{found.model.name}' is shared as it is; call enable_lora of its layers yourself"
        raise asked.refused("lora_rank", rank, because)
    add_factors(model, found.model, rank, asked.values["seed"])


def _parameters(frozen: keras.Model, features: int, dense_units: int, outputs: int) -> int:
    hidden = (features + 1) * dense_units
    return frozen.count_params() + hidden + ((dense_units or features) + 1) * outputs


def _first_of_head(given: Given) -> str:
    # The operation that takes the first step is not a named layer: the layers after it are removed.
    base, pooling = given.get("base"), given.get("pooling") or "flatten"
    if isinstance(base, Mapping) and base.get("tokens"):
        return "flatten"
    return "logits" if pooling == "first" else pooling


def _smallest_head(given: Given) -> Given:
    # With pooling='first' the dense layer is not removed.
    smallest = dict.fromkeys(KINDS) | {"classes": 2, "lora_rank": given.get("lora_rank")}
    return smallest if given.get("pooling") == "first" else smallest | {"dense_units": 1}


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
