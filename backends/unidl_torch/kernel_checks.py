"""Whether the kernels give what Keras's own give here: the same small models, computed both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import torch

from unidl_torch import kernels_recurrent

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value: float32 sums of some hundred products, in another order."""


def disagreement(kernels: Callable[[], AbstractContextManager[None]]) -> str | None:
    """Say which kernel computes something else than Keras, or return None. Draws no random number of anybody's."""
    with keras.device("cpu"):
        for name, layers, inputs in _cases():
            start: Any = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="inputs")
            model = keras.Sequential([start, *layers], name=f"check_{name}")
            for number, weight in enumerate(model.weights):
                size = torch.arange(weight.value.numel(), dtype=torch.float32)
                weight.assign((0.3 + 0.2 * torch.sin(size * (1 + 0.1 * number))).reshape(weight.value.shape))
            start = [variable.value.detach().clone() for variable in model.variables]
            expected = _step(model, inputs)
            for variable, value in zip(model.variables, start, strict=True):
                variable.assign(value)
            with kernels():
                found = _step(model, inputs)
            for one, other in zip(expected, found, strict=True):
                if not (one - other).abs().max() <= TOLERANCE * one.abs().max() + 1e-7:
                    return f"the kernel for {name} gives other values than Keras here"
    return None


def _cases() -> Iterator[tuple[str, list[Any], torch.Tensor]]:
    """A name, layers that begin without drawing, and inputs."""
    layers: Any = keras.layers
    plain: Any = {"kernel_initializer": "zeros", "dtype": "float32"}
    images = torch.sin(torch.arange(2 * 9 * 8 * 2, dtype=torch.float32)).reshape(2, 9, 8, 2)
    yield (
        "images",
        [
            layers.Conv2D(4, 3, 2, "same", activation="relu", name="one", **plain),
            layers.BatchNormalization(dtype="float32", name="two"),
            layers.Conv2D(3, (2, 1), name="three", **plain),
            layers.MaxPooling2D(2, dtype="float32", name="four"),
            layers.Dropout(0.3, seed=1, dtype="float32", name="dropout"),
            layers.Flatten(dtype="float32", name="five"),
            layers.Dense(3, name="six", **plain),
            layers.Activation("softmax", dtype="float32", name="seven"),
        ],
        images,
    )
    steps = images.reshape(2, 16, 9)
    gaps = torch.where(torch.arange(16).reshape(1, 16, 1) % torch.tensor([3, 5]).reshape(2, 1, 1) == 1, 0.0, steps)
    for kind in (layers.LSTM, layers.GRU):
        recurrent = {"recurrent_initializer": "zeros", "seed": 0, **plain}
        yield (
            kind.__name__,
            [
                kind(4, return_sequences=True, go_backwards=True, name="one", **recurrent),
                kind(3, name="two", **recurrent),
                layers.Activation("softmax", dtype="float32", name="three"),
            ],
            steps,
        )
        yield (
            f"masked {kind.__name__}",
            [
                layers.Masking(dtype="float32", name="zero"),
                kind(4, return_sequences=True, name="one", **recurrent),
                kind(3, go_backwards=True, name="two", **recurrent),
                layers.Activation("softmax", dtype="float32", name="three"),
            ],
            gaps,
        )
        rows = kernels_recurrent.SPLIT // 128
        yield (
            f"{kind.__name__} behind an Embedding",
            [
                layers.Embedding(10, 3, embeddings_initializer="zeros", dtype="float32", name="zero"),
                kind(128, go_backwards=True, name="one", **recurrent),
                layers.Activation("softmax", dtype="float32", name="two"),
            ],
            torch.arange(rows * 3).reshape(rows, 3) % 10,
        )


def _step(model: Any, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, losses, gradients and statistics of a step, and the outputs after a step of each optimizer."""
    optimizers = (keras.optimizers.Adam(1e-3), keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True))
    outputs: Any = model(inputs, training=True)
    labels = 1 + torch.arange(len(outputs)) % 2
    losses: Any = keras.ops.sparse_categorical_crossentropy(labels, outputs)
    weights = [weight.value for weight in model.trainable_variables]
    gradients = torch.autograd.grad(losses.sum(), weights)
    statistics = [weight.value.detach().clone() for weight in model.non_trainable_variables]
    with torch.no_grad():
        for optimizer in optimizers:
            optimizer.apply(list(gradients), model.trainable_variables)
        return [outputs.detach(), losses.detach(), *gradients, *statistics, model(inputs, training=False)]
