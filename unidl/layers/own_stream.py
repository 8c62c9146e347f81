"""What the layers of this package share: where their draws come from; and which layers of a model draw elsewhere."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from unidl.errors import ModelError
from unidl.keras_internals import seed_generators
from unidl.layer_paths import walk
from unidl.random import derived_seed


class OwnStream:
    """The first base of a layer whose draws are those of `unidl.layers.draws`.

    seed: from 0 to 2**31 - 1, the same stream on every backend; without one it follows from the layer's name, so that
    layers of one name draw alike, whatever the seed of the trainer or of Keras is. Raises `ModelError` for another one.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the arguments of Keras's layer to `help`, where it is one that Keras has, too."""
        super().__init_subclass__(**kwargs)
        stock = [base for base in cls.__mro__ if base.__module__.startswith("keras.")]
        if stock and stock[0] is not keras.layers.Layer:
            cls.__signature__ = inspect.signature(stock[0])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        layer: Any = self
        seed = inspect.signature(type(self)).bind_partial(*args, **kwargs).arguments.get("seed")
        require_seed(type(self).__name__, seed)
        super().__init__(*args, **kwargs)
        if seed is None:
            layer.seed = derived_seed(0, "layer", layer.name)
            for generator in seed_generators(layer):
                generator.state.assign([layer.seed, 0])


def require_seed(layer: str, seed: Any) -> None:
    """Raise `ModelError` for a seed that not every backend has; None is one. layer: the name of its class."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31):
        raise ModelError(
            f"Cannot draw with seed={seed!r} in a {layer}: a whole number from 0 to 2**31 - 1 is needed, which every "
            "backend has."
        )


def foreign_draws(model: keras.Model) -> list[str]:
    """Return the layers that draw from Keras's own random stream in training, which differs between backends.

    Args:
        model: Any model.

    Returns:
        The paths of the layers.

    Examples:
        >>> from unidl.layers import Dropout, foreign_draws
        >>> import keras
        >>> parts = [keras.Input((3,)), Dropout(0.5, name="ours"), keras.layers.Dropout(0.5, name="other")]
        >>> foreign_draws(keras.Sequential(parts))
        ['other']
    """
    return [path for path, layer in walk(model) if seed_generators(layer) and _is_noisy(layer)]


def _is_noisy(layer: Any) -> bool:
    """Recurrent cells have a generator whether they drop anything or not."""
    amounts = [getattr(layer, name) for name in ("dropout", "recurrent_dropout") if hasattr(layer, name)]
    return not isinstance(layer, OwnStream) and (not amounts or any(amounts))
