"""A model trained on mixed batches: it is called on the mixed images, and its loss compares with the labels of both.

The loss of an image that keeps a share of itself is share * loss(own label) + (1 - share) * loss(other label), as in
Zhang et al. 2018. It works with every loss, and weights of samples and classes go with their labels; for crossentropy
it is the loss of a label that is mixed itself.

Imports Keras: import it only where a backend is already in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.errors import ModelError
from unidl.keras_internals import functional_of, nodes_of
from unidl.layers import Augmentation
from unidl.layers.mixing import Mix, Mixing
from unidl.models.cutting import replayed
from unidl.training.compiling import compile_like

NAME = "unidl_mixing"

IMAGES = (4, 5)
"""Axes of images and of clips."""


class MixedModel(keras.Model):
    """The layers of a model with a `Mixing` among them, and the loss for it."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        own = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training:
            return own
        y, sample_weight = (keras.tree.map_structure(_reversed, part) for part in (y, sample_weight))
        other = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        share: Any = keras.ops.cast(self.get_layer(NAME).share, own.dtype)
        # Losses of weights and activities are in both, and so they count once.
        return share * own + (1.0 - share) * other


def mixed_model(model: keras.Model, mixes: Sequence[Mix], seed: int) -> MixedModel:
    """Return a model of the layers of `model`, which mixes batches in training, compiled like it, with its optimizer.

    seed: of the draws, from 0 to 2**31 - 1. Batches are mixed after the augmentation that the model begins with, or
    else as they come in. Raises `ModelError` if the model cannot be trained so.
    """
    given = _one_input(model)
    layer = Mixing(mixes, seed=seed, name=NAME, dtype="float32")
    place = _augmented(model, given)
    inputs = keras.Input(given.shape[1:], dtype=given.dtype)
    _require_mixable(model, mixes, given if place is None else place)
    if place is None:
        mixed = MixedModel(inputs, model(layer(inputs)), name=model.name)
    else:
        outputs = replayed(
            functional_of(model), {id(given): inputs}, lambda old, new: layer(new) if old is place else new
        )
        mixed = MixedModel(inputs, outputs, name=model.name)
    if list(map(id, mixed.trainable_variables)) != list(map(id, model.trainable_variables)):
        raise _cannot(model, "the order of its trainable layers differs from the order of its graph")
    compile_like(mixed, model)
    return mixed


def _reversed(values: Any) -> Any:
    return None if values is None else keras.ops.flip(values, axis=0)


def _one_input(model: keras.Model) -> Any:
    """The input of a model that can be mixed for."""
    base: Any = keras.Model
    own = [name for name in ("train_step", "compute_loss") if getattr(type(model), name) is not getattr(base, name)]
    if own:
        raise _cannot(model, f"it overrides {own[0]}")
    if not getattr(model, "inputs", None):
        raise _cannot(model, "its inputs are not defined; wrap it as keras.Model(inputs, model(inputs))")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise _cannot(model, f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs instead of one each")
    return model.inputs[0]


def _require_mixable(model: keras.Model, mixes: Sequence[Mix], values: Any) -> None:
    if "float" not in values.dtype and values.dtype != "uint8":
        raise _cannot(model, f"it takes {values.dtype}, such as tokens, of which the mean has no meaning")
    if len(values.shape) not in IMAGES and any(mix.needs_images for mix in mixes):
        raise _cannot(model, "CutMix needs images (batch, height, width, channels), or clips. Use Mixup alone")


def _augmented(model: keras.Model, given: Any) -> Any:
    """The output of the last augmentation on the way from the input, as long as that does not part; None if there is
    none."""
    functional = functional_of(model)
    place, tensor = None, given
    while functional is not None:
        readers = [node for node in nodes_of(functional) if any(one is tensor for one in node.input_tensors)]
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            break
        tensor = readers[0].outputs[0]
        if isinstance(readers[0].operation, Augmentation):
            place = tensor
        if len(tensor.shape) not in IMAGES:
            break
    return place


def _cannot(model: keras.Model, why: str) -> ModelError:
    return ModelError(f"Cannot mix the batches of '{model.name}': {why}. Train without mix=.")
