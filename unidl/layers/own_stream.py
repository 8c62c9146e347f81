"""What the layers of this package share: where their draws come from; and which layers of a model draw elsewhere."""

from __future__ import annotations

from typing import Any

import keras

from unidl.models.layer_paths import walk
from unidl.random import derived_seed


class OwnStream:
    """The first base of a layer whose draws are those of `unidl.layers.draws`.

    seed: of the layer's draws, counted from there on; without one it follows from the layer's name.
    """

    def __init__(self, *args: Any, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"seed": 0 if seed is None else seed})
        if seed is None:
            layer: Any = self
            layer.seed = derived_seed(0, "layer", layer.name)
            for generator in layer._seed_generators:
                generator.state.assign([layer.seed, 0])


def foreign_draws(model: keras.Model) -> list[str]:
    """Return the paths of the layers that draw from Keras's own stream in training, another one on each backend."""
    return [path for path, layer in walk(model) if layer._seed_generators and _is_noisy(layer)]


def _is_noisy(layer: Any) -> bool:
    """Recurrent cells have a generator whether they drop anything or not."""
    amounts = [getattr(layer, name) for name in ("dropout", "recurrent_dropout") if hasattr(layer, name)]
    return not isinstance(layer, OwnStream) and (not amounts or any(amounts))
