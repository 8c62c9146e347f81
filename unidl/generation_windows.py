"""What a language model says after some tokens, by a few compiled programs for texts of all lengths."""

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
"""Tokens of the shortest window of a model that takes any number; a longer one is twice as long as the one before."""
SAME = 1e-5
"""How far probabilities of the same window may differ, with and without padding behind it, in any precision: padding
that is not seen leaves the sums before it as they are."""

Outputs = np.ndarray[Any, Any]

_kept: WeakKeyDictionary[keras.Model, Windows] = WeakKeyDictionary()


def windows_of(model: keras.Model) -> Windows:
    """Return what computes the outputs of `model`, with all that was compiled for it before.

    Kept as long as the model itself, if Keras made it of layers, and if device and precision are those of before.
    """
    import keras

    # Of the same layers, but not the model itself, which what is kept for it must not keep alive.
    computing = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if type(model) not in (type(computing), keras.Sequential):
        return Windows(model, model)  # a class of somebody's own, whose call or predict_step may be its own too
    found = _kept.get(model)
    if found is None or not found.is_as_now():
        computing.compile()
        note(computing, architecture=record_of(model).architecture)
        found = _kept[model] = Windows(model, computing)
    found.follow(model)
    return found


class Windows:
    """The outputs of a model after the last of some tokens.

    A model of fixed length sees the last of them, padded on the left. One of any length sees all of them: with padding
    behind them, where that changes nothing, so that texts of many lengths need few programs.
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
                # What the last step gives, each step of the same layers gives for a text that ends there.
                from unidl.models.rebuilding import build

                arguments = {**architecture.arguments, **read.every_step}
                self._twin = computing = build(replace(architecture, arguments=arguments))
                self._each_step = True
        elif not self._each_step and not _masks(model):
            self._pads = False
        self._trainer = Trainer(computing)

    def is_as_now(self) -> bool:
        """Whether a trainer that is made now computes on the same device in the same precision."""
        from unidl.training import Trainer

        now = Trainer(self._trainer.model)
        return (now.device, now.precision) == (self._trainer.device, self._trainer.precision)

    def follow(self, model: keras.Model) -> None:
        """Take over the weights that `model` has now."""
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
        """Whether padding behind these tokens, and other tokens too where the model gives each step, changes nothing.

        It does where a step knows later ones, as in attention without a causal mask and in a network that reads
        backwards.
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
        """The outputs (steps, words) of each step; (1, words) of a model that gives but one."""
        outputs = self._trainer.predict(np.array([tokens], dtype=np.int32))
        return np.asarray(outputs, dtype=np.float64).reshape(-1, outputs.shape[-1])


def _masks(model: keras.Model) -> bool:
    """Whether a layer of the model says that padding is to be skipped."""
    import keras

    return any(
        isinstance(layer, keras.layers.Masking) or (isinstance(layer, keras.layers.Embedding) and layer.mask_zero)
        for layer in all_layers(model)
    )
