"""Variants of images: augmented by numbers that are given, and not drawn in the step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unidl.layers.augment import Augmentation
from unidl.layers.draws import ops
from unidl.random import stream


@keras.saving.register_keras_serializable("unidl")
class Variation(keras.layers.Layer):
    """Change images as an `Augmentation` does in training, by numbers of shape (batch, draws) that are its second
    input."""

    def __init__(self, augmentation: Augmentation, **kwargs: Any) -> None:
        super().__init__(**{"dtype": augmentation.dtype_policy, "autocast": False} | kwargs)
        self.augmentation = augmentation
        self.built = True

    def call(self, images: Any, numbers: Any) -> Any:
        return self.augmentation.changed(images, ops.transpose(numbers))

    def compute_output_spec(self, images: Any, numbers: Any) -> Any:
        return self.augmentation.compute_output_spec(images)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"augmentation": keras.saving.serialize_keras_object(self.augmentation)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Variation:
        made: Any = keras.saving.deserialize_keras_object(config["augmentation"])
        return cls(**config | {"augmentation": made})


def numbers_of_variant(augmentation: Augmentation, rows: int, variant: int) -> np.ndarray[Any, Any]:
    """Return the numbers of one variant of so many rows, of shape (rows, draws): those of a row depend on the seed of
    the augmentation, the variant and the number of the row, and neither on the batch nor on the backend."""
    return stream(augmentation.seed, "variant", variant).random((rows, augmentation.draws), dtype=np.float32)
