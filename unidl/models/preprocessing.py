"""What the networks of keras.applications expect of an image, as layers: here they, too, take 0 to 1.

Imports Keras: import it only where a backend is already in use. All layers are Keras's own, so that a saved
model needs nothing of unidl to be loaded.
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
    """Return `images` (batch, height, width, 3) as `application` was trained to see them.

    They are red first, and 0 to 1. The arithmetic is that of the `preprocess_input` beside the application,
    after a multiplication by 255.
    """
    backwards, scale, offset = measured(application)
    if backwards:
        images = keras.ops.flip(images, axis=-1)  # the weights that came from Caffe take blue-green-red
    # In float32 under every policy: 255 grey levels are more than bfloat16 can tell apart. Any, since Keras's
    # annotations forget that both numbers may be lists, one number a channel.
    rescaling: Any = keras.layers.Rescaling
    return rescaling(scale, offset, dtype="float32", name="preprocessing")(images)


def measured(application: Callable[..., keras.Model]) -> tuple[bool, list[float], list[float]]:
    """Find out what `preprocess_input` does to black, red, green and blue pixels.

    Returns whether it reverses the channels, and then, for each channel, what 0 to 1 is multiplied with and
    what is added. Raises `ModelError` if it does anything else.
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
            f"Cannot use the base '{application.__name__}': its preprocess_input mixes the colours, and "
            "unidl can only scale them.\nBuild it yourself and pass the keras.Model as base."
        )
    return backwards, [float(value) for value in scale], [float(value) for value in black]
