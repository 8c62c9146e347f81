"""Low-rank adaptation: small factors beside frozen kernels (Hu et al. 2021, "LoRA"), as Keras's layers have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError
from unidl.layer_paths import named_weights, walk
from unidl.models.freezing import base_of, hold_all_but_factors
from unidl.models.records import Architecture, note, record_of
from unidl.random import stream

if TYPE_CHECKING:
    import keras

FACTOR = "lora_"
"""How the names of the factors begin in Keras."""


def add_factors(model: keras.Model, base: keras.Model, rank: int, seed: int) -> None:
    """Give every layer of the base that can have them factors of a rank, of which one is drawn and the other is 0, so
    that the model computes the same at first. Only they learn of the base.

    Raises `ModelError` if no layer can have factors, or Keras refuses one.
    """
    from keras.initializers import HeUniform

    from unidl.models.initializers import draw

    layers = list(_adaptable(base))
    if not layers:
        raise ModelError(
            f"Cannot use build_transfer(lora_rank={rank}): the base '{base.name}' has no dense layer, convolution or "
            "embedding."
        )
    base.trainable = True
    for _, layer in walk(base):
        if not any(child is not layer for _, child in walk(layer)):
            layer.trainable = False
    for layer in layers:
        try:
            layer.enable_lora(rank)
        except ValueError as error:
            raise ModelError(f"Cannot use build_transfer(lora_rank={rank}): layer '{layer.name}': {error}") from error
        layer.trainable = True
    for path, weight in named_weights(model).items():
        if weight.name.startswith(FACTOR) and weight.name.endswith("_a"):
            weight.assign(draw(HeUniform(seed=0), weight.shape, stream(seed, "initial", path)))
    hold_all_but_factors(model)


def _adaptable(base: keras.Model) -> Iterator[Any]:
    import keras

    kinds = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
    convolutions = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    for _, layer in walk(base):
        if isinstance(layer, (*kinds, *convolutions)) and not layer.lora_enabled and layer.weights:
            yield layer


def merge_lora(model: keras.Model) -> keras.Model:
    """Return a model that computes the same without low-rank factors, which are added to the kernels.

    Args:
        model: A model of `build_transfer(lora_rank=...)`.

    Returns:
        A new model, frozen as `build_transfer` leaves its base, with the weights of `model`; it is not compiled.

    Raises:
        ModelError: If the model has no such factors.

    Examples:
        >>> import unidl
        >>> base = unidl.build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=8)
        >>> model = unidl.build_transfer(base, classes=2, lora_rank=2)
        >>> merged = unidl.merge_lora(model)
        >>> len(model.weights) - len(merged.weights)
        4
    """
    import keras

    from unidl.models.rebuilding import build

    record = record_of(model)
    if record.architecture is None or record.architecture.arguments.get("lora_rank") is None:
        raise ModelError(
            f"Cannot merge the factors of the model '{model.name}': build_transfer(lora_rank=...) did not build it."
        )
    arguments = {**record.architecture.arguments, "lora_rank": None}
    merged = build(Architecture(record.architecture.builder, arguments))
    layers, weights = dict(walk(model)), named_weights(model)
    for path, weight in named_weights(merged).items():
        layer = layers[path.rpartition("/")[0]]
        adapted = getattr(layer, "lora_enabled", False) and weight.name in ("kernel", "embeddings")
        value: Any = getattr(layer, weight.name) if adapted else weights[path].value
        weight.assign(keras.ops.copy(value))
    known = ("class_names", "vocabulary", "value_range", "value_range_fixed", "tokenizer", "head_names")
    note(merged, **{name: getattr(record, name) for name in known})
    base_of(merged).trainable = False
    return merged
