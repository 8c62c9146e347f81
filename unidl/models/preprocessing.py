"""The preprocessing of keras.applications as layers, for images with values from 0 to 1.

Imports Keras: import this module only once a backend is in use. All layers are Keras's own, so that a saved
model can be loaded without unidl.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from unidl.errors import ModelError
from unidl.models.building import Tensor


def preprocessed(images: Tensor, application: Callable[..., keras.Model]) -> Tensor:
    """Preprocess `images` (batch, height, width, 3) as `application` expects.

    The images are RGB, 0 to 1. The arithmetic is that of the application's `preprocess_input`,
    after a multiplication by 255.
    """
    backwards, scale, offset = measured(application)
    if backwards:
        images = keras.ops.flip(images, axis=-1)  # weights converted from Caffe expect BGR
    # In float32 under every policy: bfloat16 cannot represent 255 levels. Any, since Keras's
    # annotations omit that both values may be lists with one value per channel.
    rescaling: Any = keras.layers.Rescaling
    return rescaling(scale, offset, dtype="float32", name="preprocessing")(images)


def measured(application: Callable[..., keras.Model]) -> tuple[bool, list[float], list[float]]:
    """Determine what `preprocess_input` does from its results for black, red, green and blue pixels.

    Returns whether it reverses the channels and, for each channel, the scale and
    offset for values from 0 to 1. Raises `ModelError` if it does anything else.
    """
    module = sys.modules[application.__module__]
    pixels = np.vstack([np.zeros(3), 255 * np.eye(3)]).reshape(4, 1, 1, 3)
    black, *colours = module.preprocess_input(pixels, data_format="channels_last").reshape(4, 3)
    response = np.array(colours) - black
    backwards = bool(response[0, 0] == 0)
    scale = response.sum(axis=0)
    expected = np.diag(scale)
    if not np.allclose(response, expected[::-1] if backwards else expected):
        raise ModelError(
            f"Cannot use the base '{application.__name__}': its preprocess_input mixes the channels, and "
            "unidl can only scale them.\nBuild it yourself and pass the keras.Model as base."
        )
    return backwards, [float(value) for value in scale], [float(value) for value in black]
