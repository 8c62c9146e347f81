"""Outputs of a language model for texts of any length, with few compiled programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from unidl.data.text import PADDING
from unidl.keras_internals import all_layers
from unidl.models import builders
from unidl.models.records import note, record_of

if TYPE_CHECKING:
    import keras

SHORTEST = 32
"""Length of the shortest window of a model of variable length; each longer window has twice the length."""
SAME = 1e-5
"""Allowed difference of probabilities with and without padding at the end, in any precision: masked padding
does not change the sums before it."""

Outputs = np.ndarray[Any, Any]

_kept: WeakKeyDictionary[keras.Model, Windows] = WeakKeyDictionary()


def windows_of(model: keras.Model) -> Windows:
    """Return the object that computes the outputs of `model`, reusing compiled programs.

    It is kept as long as the model if the model is functional, and reused while device and precision are unchanged.
    """
    import keras

    # A model of the same layers: a reference to the model itself would keep it alive.
    computing = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if type(model) not in (type(computing), keras.Sequential):
        return Windows(model, model)  # a subclassed model, which may override call or predict_step
    found = _kept.get(model)
    if found is None or not found.is_as_now():
        computing.compile()
        note(computing, architecture=record_of(model).architecture)
        found = _kept[model] = Windows(model, computing)
    found.follow(model)
    return found


class Windows:
    """The outputs of a model after the last of some tokens.

    A model of fixed length sees the last ones, padded on the left. One of variable length sees all of them: with
    padding at the end, where that has no effect, so that texts of many lengths need few programs.
    """

    def __init__(self, model: keras.Model, computing: keras.Model) -> None:
        from unidl.training import Trainer

        self._length: int | None = model.input_shape[1]
        self._each_step = len(model.output_shape) == 3
        self._pads: bool | None = None
        self._twin: keras.Model | None = None
        architecture = record_of(model).architecture
        builder = None if architecture is None else builders.find(architecture.builder)
        if self._length is None and architecture is not None and builder is not None and builder.reading is not None:
            read = builder.reading(architecture.arguments)
            self._pads = read.pads
            if self._pads and not self._each_step and read.every_step is not None:
                # With the same layers, the output of each step equals the last output of a text that ends there.
                from unidl.models.rebuilding import build

                arguments = {**architecture.arguments, **read.every_step}
                self._twin = computing = build(replace(architecture, arguments=arguments))
                self._each_step = True
        elif not self._each_step and not _masks(model):
            self._pads = False
        self._trainer = Trainer(computing)

    def is_as_now(self) -> bool:
        """Return whether a new trainer would use the same device and precision."""
        from unidl.training import Trainer

        now = Trainer(self._trainer.model)
        return (now.device, now.precision) == (self._trainer.device, self._trainer.precision)

    def follow(self, model: keras.Model) -> None:
        """Copy the current weights of `model`."""
        if self._twin is not None:
            for weight, source in zip(self._twin.weights, model.weights, strict=True):
                weight.assign(source)

    def after(self, tokens: Sequence[int]) -> Outputs:
        """Return the outputs (words,) after the last of the tokens."""
        if self._length is not None:
            window = list(tokens[-self._length :])
            return self._last([PADDING] * (self._length - len(window)) + window)
        if self._pads is None:
            self._pads = self._may_pad(tokens)
        return self._padded(tokens, PADDING) if self._pads else self._last(tokens)

    def _may_pad(self, tokens: Sequence[int]) -> bool:
        """Return whether padding after these tokens, and for per-step outputs also other tokens, leaves the output
        unchanged.

        It changes the output if a step depends on later ones, as in attention without a causal mask and in networks
        that read backward.
        """
        alone = self._last(tokens)
        fills = (PADDING, int(tokens[0]), int(tokens[-1])) if self._each_step else (PADDING,)
        return all(np.abs(self._padded(tokens, fill) - alone).max() <= SAME for fill in fills)

    def _padded(self, tokens: Sequence[int], fill: int) -> Outputs:
        length = SHORTEST
        while length <= len(tokens):
            length *= 2
        outputs = self._predicted([*tokens, *[fill] * (length - len(tokens))])
        return outputs[len(tokens) - 1] if self._each_step else outputs[-1]

    def _last(self, tokens: Sequence[int]) -> Outputs:
        return self._predicted(tokens)[-1]

    def _predicted(self, tokens: Sequence[int]) -> Outputs:
        """Return the outputs (steps, words); (1, words) for a model with a single output."""
        outputs = self._trainer.predict(np.array([tokens], dtype=np.int32))
        return np.asarray(outputs, dtype=np.float64).reshape(-1, outputs.shape[-1])


def _masks(model: keras.Model) -> bool:
    """Return whether a layer of the model masks padding."""
    import keras

    return any(
        isinstance(layer, keras.layers.Masking) or (isinstance(layer, keras.layers.Embedding) and layer.mask_zero)
        for layer in all_layers(model)
    )
