"""Small computations on which the kernels are compared with Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import torch

from unidl.keras_internals import takes_training
from unidl_torch import kernels_recurrent

layers: Any = keras.layers
ops: Any = keras.ops
FLOAT32: Any = {"dtype": "float32"}
PLAIN: Any = {"kernel_initializer": "zeros", **FLOAT32}


LaidOut = Callable[[torch.Tensor], torch.Tensor]
"""Copies a tensor to other memory."""


class Case(NamedTuple):
    """A sequence of layers with constant initial weights, and their inputs.

    states: initial states of the last layer. expected: computes the expected outputs, where Keras's own are known to be
    wrong. then: applied to the outputs.
    """

    name: str
    layers: Sequence[Any]
    inputs: torch.Tensor
    states: Sequence[torch.Tensor] = ()
    expected: Callable[[torch.Tensor], torch.Tensor] | None = None
    then: Callable[[torch.Tensor], torch.Tensor] | None = None

    def outputs(self, inputs: Any, states: Sequence[Any], *, by_keras: bool = False, training: bool = True) -> Any:
        if by_keras and self.expected is not None:
            return self.expected(inputs)
        values = inputs
        for layer in self.layers:
            options: dict[str, Any] = {"training": training} if takes_training(layer) else {}
            if states and layer is self.layers[-1]:
                options["initial_state"] = list(states)
            values = layer(values, **options)
        return values if self.then is None else self.then(values)


def numbers(shape: Sequence[int], pace: float = 1.0) -> torch.Tensor:
    """Return deterministic values between 0.1 and 0.5."""
    count = torch.Size(shape).numel()
    return (0.3 + 0.2 * torch.sin(torch.arange(count, dtype=torch.float32) * pace)).reshape(tuple(shape))


def _images() -> torch.Tensor:
    return 5 * numbers((2, 7, 6, 4)) - 1.5


def transposed() -> Iterator[Case]:
    yield Case("MaxPooling2D", [layers.MaxPooling2D(2, **FLOAT32)], _images())
    yield Case("other convolutions", [layers.DepthwiseConv2D(2, depthwise_initializer="zeros", **FLOAT32)], _images())
    yield Case("Conv3D", [layers.Conv3D(2, 2, **PLAIN)], _images().reshape(2, 3, 7, 4, 2))


def convolution() -> Iterator[Case]:
    relu: Any = {"activation": "relu", **PLAIN}
    yield Case("Conv2D", [layers.Conv2D(4, 3, 2, "same", **relu)], _images())
    yield Case("Conv2D in groups", [layers.Conv2D(6, (2, 1), dilation_rate=2, groups=2, **PLAIN)], _images())
    yield Case("Conv2D of one place", [layers.Conv2D(3, (7, 6), **relu)], _images())
    yield Case("Conv3D", [layers.Conv3D(2, 2, **PLAIN)], _images().reshape(2, 3, 7, 4, 2))


def normalization() -> Iterator[Case]:
    yield Case("BatchNormalization", [layers.BatchNormalization(**FLOAT32)], _images())
    yield Case("BatchNormalization of vectors", [layers.BatchNormalization(**FLOAT32)], _images().reshape(-1, 6))


def average_pooling() -> Iterator[Case]:
    # With windows of two, Keras's error would not be visible.
    pooling = layers.AveragePooling2D(3, strides=2, padding="same", **FLOAT32)
    yield Case("AveragePooling2D", [pooling], _images(), expected=_averages)


def bicubic() -> Iterator[Case]:
    resizing = layers.Resizing(12, 10, interpolation="bicubic", **FLOAT32)
    yield Case("bicubic resizing", [resizing], _images()[:1], expected=_resized)


def dropout() -> Iterator[Case]:
    yield Case("Dropout", [layers.Dropout(0.3, seed=1, **FLOAT32)], _images())


def softmax() -> Iterator[Case]:
    yield Case("softmax", [layers.Dense(3, activation="softmax", **PLAIN)], _images()[0, 0])


def crossentropy() -> Iterator[Case]:
    for kind in ("softmax", "sigmoid"):
        dense = layers.Dense(3, activation=kind, **PLAIN)
        yield Case(f"crossentropy of a {kind}", [dense], _images()[0, 0], then=_losses)


def _losses(outputs: torch.Tensor) -> Any:
    """Return the losses, followed by the probabilities."""
    losses: Any = ops.sparse_categorical_crossentropy(1 + torch.arange(len(outputs)) % 2, outputs)
    return torch.cat((losses, outputs.flatten()))


def _averages(images: torch.Tensor) -> torch.Tensor:
    """Return the averages of 3x3 windows with stride two, excluding padding."""
    for axis in (1, 2):
        size = images.shape[axis]
        wanted = -(-size // 2)
        outside = max(2 * (wanted - 1) + 3 - size, 0) // 2
        windows = [range(max(2 * place - outside, 0), min(2 * place - outside + 3, size)) for place in range(wanted)]
        parts = [images.narrow(axis, window.start, len(window)).mean(axis, keepdim=True) for window in windows]
        images = torch.cat(parts, axis)
    return images


def _resized(images: torch.Tensor) -> torch.Tensor:
    """Resize images (batch, rows, columns, channels) to 12 rows and 10 columns, by Keys's cubic with a = -0.5."""
    for axis, wanted in ((1, 12), (2, 10)):
        given = images.shape[axis]
        lines = []
        for place in range(wanted):
            middle = (place + 0.5) * given / wanted - 0.5
            shares = {near: _keys(abs(middle - near)) for near in range(given) if abs(middle - near) < 2}
            total = sum(shares.values())
            lines.append(sum(images.select(axis, near) * (share / total) for near, share in shares.items()))
        images = torch.stack(lines, axis)
    return images


def _keys(distance: float) -> float:
    if distance < 1:
        return 1.5 * distance**3 - 2.5 * distance**2 + 1
    return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2


def embedding() -> Iterator[Case]:
    yield Case("Embedding", [_embedding()], torch.arange(12).reshape(6, 2) % 10)


def _embedding() -> Any:
    return layers.Embedding(10, 3, embeddings_initializer="zeros", **FLOAT32)


RECURRENT: Any = {"recurrent_initializer": "zeros", "seed": 0, **PLAIN}
BACKWARDS: Any = {"go_backwards": True, "return_sequences": True, **RECURRENT}


def recurrent(kind: Any) -> Iterator[Case]:
    """Yield the cases of LSTM or GRU, on numbers and after an Embedding."""
    steps, name = 5 * numbers((3, 6, 4)) - 1.5, kind.__name__
    yield Case(name, [kind(5, **BACKWARDS), kind(3, **RECURRENT)], steps, _states(kind))
    # PyTorch's LSTM is faster for a smaller number of rows times units.
    rows, units = (kernels_recurrent.SPLIT // 128, 128) if kind is layers.LSTM else (12, 5)
    tokens = torch.arange(rows * 2).reshape(rows, 2) % 10
    yield Case(f"{name} behind an Embedding", [_embedding(), kind(units, go_backwards=True, **RECURRENT)], tokens)


def masked(kind: Any) -> Iterator[Case]:
    """Yield the cases of LSTM or GRU with a mask."""
    steps = 5 * numbers((3, 6, 4)) - 1.5
    gaps = torch.where(torch.arange(6).reshape(1, 6, 1) % torch.tensor([2, 3, 7]).reshape(3, 1, 1) == 1, 0.0, steps)
    skipping = [
        layers.Masking(**FLOAT32),
        kind(5, zero_output_for_mask=True, **BACKWARDS),
        kind(3, return_sequences=True, **RECURRENT),
    ]
    yield Case(f"masked {kind.__name__}", skipping, gaps, _states(kind))


def _states(kind: Any) -> list[torch.Tensor]:
    return [numbers((3, 3), 2.0 + number) for number in range(2 if kind is layers.LSTM else 1)]


def one_hot(laid_out: LaidOut) -> Any:
    return ops.one_hot(laid_out(torch.tensor([[0, 2], [3, -1]])), 4)


def scatter(laid_out: LaidOut) -> Any:
    return ops.scatter(laid_out(torch.tensor([[0], [2], [0]])), laid_out(numbers((3, 2))), (4, 2))


def cond(laid_out: LaidOut) -> Any:
    values = laid_out(numbers((3, 2)))
    return ops.cond(values.sum() > 0, lambda: values + 1.0, lambda: values)


def uniform(_: LaidOut) -> Any:
    return _twice(lambda seed: keras.random.uniform((2, 3), -1.0, 2.0, seed=seed))


def normal(_: LaidOut) -> Any:
    return _twice(lambda seed: keras.random.normal((2, 3), 1.0, 2.0, seed=seed))


def randint(_: LaidOut) -> Any:
    return _twice(lambda seed: keras.random.randint((2, 3), 0, 1000, seed=seed))


def categorical(_: LaidOut) -> Any:
    return _twice(lambda seed: keras.random.categorical(numbers((2, 3)), 16, seed=seed))


def _twice(draw: Callable[[Any], Any]) -> torch.Tensor:
    """Return two draws of a generator."""
    seed = keras.random.SeedGenerator(1)
    return torch.stack([draw(seed).float() for _ in range(2)])


optimizers: Any = keras.optimizers
ADAM: Any = (lambda: optimizers.Adam(0.01), lambda: optimizers.Adam(0.01, amsgrad=True))
ADADELTA: Any = (lambda: optimizers.Adadelta(0.5),)
NADAM: Any = (lambda: optimizers.Nadam(0.01),)
SGD: Any = (
    lambda: optimizers.SGD(0.01),
    lambda: optimizers.SGD(0.01, momentum=0.9),
    lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
)
