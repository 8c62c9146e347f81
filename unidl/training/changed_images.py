"""Prediction and evaluation on several augmented copies of each image, whose outputs are averaged: test-time
augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop, Tree
from unidl.data.dataset import Split, take
from unidl.data.trees import map_leaves
from unidl.data.value_range import BYTES
from unidl.errors import DataError, ModelError
from unidl.keras_internals import compute_loss, track_loss
from unidl.logs import plain_logs
from unidl.random import derived_seed
from unidl.shortening import shown
from unidl.training.evaluating import loss_first, predicted
from unidl.training.progress import Metrics

if TYPE_CHECKING:
    import keras

AT_ONCE = 64
"""Images that are augmented together."""


def averaged(predict: Callable[[np.ndarray], Tree], model: keras.Model, x: Any, count: int) -> Tree:
    """Return the mean of what `predict` gives for this many augmented copies of x.

    They are augmented as the `Augmentation` at the front of the model does it in training, by draws of their own that
    are the same in each call. Raises `ModelError` if the model begins with none, `DataError` if x is not one array.
    """
    import keras

    from unidl.layers import Augmentation

    front = next((layer for layer in model.layers if isinstance(layer, Augmentation)), None)
    inputs = [id(given) for given in getattr(model, "inputs", None) or ()]
    if front is None or id(front.input) not in inputs:
        raise ModelError(
            f"Cannot predict on augmented images with the model '{model.name}': its first layer is not a "
            "unidl.layers.Augmentation. Leave augmentations out, or build the model with one."
        )
    if not isinstance(x, np.ndarray):
        raise DataError(f"Cannot augment {shown(x)}: pass the images as one NumPy array.")
    given: Any = front.input
    as_bytes = given.dtype == "uint8"
    # Elsewhere the step makes of bytes what the model takes; here they are augmented before it.
    white = np.float32(BYTES[1] if x.dtype == np.uint8 else 1)
    images = x if as_bytes else x.astype(np.float32) / white
    outputs: list[Tree] = []
    for number in range(count):
        config = front.get_config() | {"value_range": (0.0, 1.0), "dtype": "float32"}
        layer = Augmentation.from_config(config | {"seed": derived_seed(front.seed, "prediction", str(number))})
        parts = [
            np.asarray(keras.ops.convert_to_numpy(layer(images[first : first + AT_ONCE], training=True)))
            for first in range(0, len(images), AT_ONCE)
        ]
        changed = np.concatenate(parts)
        outputs.append(predict(np.rint(255 * changed).astype(np.uint8) if as_bytes else changed))
    return keras.tree.map_structure(
        lambda *each: np.mean(each, axis=0, dtype=np.float64).astype(each[0].dtype), *outputs
    )


def evaluated_on_copies(
    loop: TrainLoop, model: keras.Model, split: Split, batch_size: int, count: int, *, steps: int | None
) -> Metrics:
    """Return loss and metrics of the mean outputs for so many augmented copies of each image. Raises as `averaged`
    does. steps: the most batches."""
    rows = split
    if steps is not None and isinstance(split.x, np.ndarray):  # for others `averaged` raises the error
        rows = take(split, slice(0, steps * batch_size))

    def predict(images: np.ndarray) -> Tree:
        return predicted(loop, Split(images), batch_size)

    try:
        return scored(model, averaged(predict, model, rows.x, count), rows, batch_size)
    finally:
        loop.commit()


def scored(model: keras.Model, outputs: Tree, split: Split, batch_size: int) -> Metrics:
    """Return the loss and the metrics of outputs that have been computed, against the labels and weights of `split`."""
    from keras import ops

    def tensors(tree: Tree) -> Any:
        return map_leaves(ops.convert_to_tensor, tree)

    model.reset_metrics()
    for first in range(0, len(split), batch_size):
        rows = slice(first, first + batch_size)
        part, found = take(split, rows), tensors(map_leaves(lambda leaf, rows=rows: leaf[rows], outputs))
        given = {
            "x": tensors(part.x),
            "y": tensors(part.y),
            "y_pred": found,
            "sample_weight": tensors(part.sample_weight),
        }
        loss: Any = ops.stop_gradient(compute_loss(model, training=False, **given))
        track_loss(model, loss, len(part))
        model.compute_metrics(**given)
    as_array: Any = ops.convert_to_numpy
    return loss_first(plain_logs(model.get_metrics_result(), as_array))
