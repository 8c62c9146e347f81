"""Process-wide settings that loading a model must not change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def settings_kept() -> Iterator[None]:
    """Restore on exit the settings that a file or Keras may have changed.

    These are Keras's floatx, dtype policy, image data format and epsilon, and the random states of Python and NumPy:
    Keras draws missing seeds of layers from Python's random state.
    """
    from unidl import registry

    registry.current()
    import keras

    config = keras.config
    floatx, policy, image_format, epsilon = (
        *(config.floatx(), config.dtype_policy()),
        *(config.image_data_format(), config.epsilon()),
    )
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        config.set_floatx(floatx)
        config.set_dtype_policy(policy)
        config.set_image_data_format(image_format)
        config.set_epsilon(epsilon)
        random.setstate(python)
        np.random.set_state(numpy)
