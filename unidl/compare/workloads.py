"""What a comparison trains: models and made-up data of their shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Batches
from unidl.errors import UsageError
from unidl.random import stream

if TYPE_CHECKING:
    import keras

LEARNING_RATE = 1e-3
"""Adam's, in every implementation."""


@dataclass(frozen=True)
class Workload:
    """One model to train, the same in every implementation.

    build: makes the Keras model in a precision. data: makes so many rows. rows: how many an epoch has. batch_size: if
    nobody says. epochs: of a round; None for as many as take the time of a round. round_seconds: about how long such a
    round takes on two CPU cores. frozen_front: whether our loop is measured with `precompute_frozen` as well.
    """

    name: str
    summary: str
    build: Callable[[str], keras.Model]
    data: Callable[[int], Batches]
    rows: int
    batch_size: int = 128
    epochs: int | None = None
    round_seconds: float = 0.0
    frozen_front: bool = False

    def epoch_rows(self, batch_size: int, rows: int | None = None) -> int:
        """Rows of an epoch that whole batches fill, at least 8 of them. rows: about how many, instead of its own."""
        return max(8, (rows or self.rows) // batch_size) * batch_size


def workload(name: str) -> Workload:
    """Return the workload of that name. Raises `UsageError` if there is none."""
    known = {one.name: one for one in WORKLOADS}
    if name not in known:
        raise UsageError(f"Unknown model {name!r} to compare. Known: {', '.join(known)}.")
    return known[name]


def _cnn(precision: str) -> keras.Model:
    from unidl import build_cnn

    return build_cnn(precision=precision)


def _lstm(precision: str) -> keras.Model:
    from unidl import build_lstm

    return build_lstm(precision=precision)


def _gru(precision: str) -> keras.Model:
    from unidl import build_lstm

    return build_lstm(cell="gru", name="gru", precision=precision)


def _transfer(precision: str) -> keras.Model:
    from unidl import build_transfer

    return build_transfer("VGG16", (64, 64, 3), weights=None, precision=precision)


def _resnet(precision: str) -> keras.Model:
    """ResNet-20 for images of 32x32 (He et al. 2015, "Deep residual learning", section 4.2), with projections."""
    from unidl.models.building import finish, layers_in, softmax_head

    with layers_in(precision) as policy:
        import keras

        images = keras.Input((32, 32, 3), name="image", dtype="float32")
        values = _normalised(images, 16, 3, 1, "stem", policy)
        values = keras.layers.Activation("relu", dtype=policy)(values)
        for stage, filters in enumerate((16, 32, 64), start=1):
            for block in range(1, 4):
                stride = 2 if stage > 1 and block == 1 else 1
                values = _residual(values, filters, stride, f"stage_{stage}_block_{block}", policy)
        values = keras.layers.GlobalAveragePooling2D(data_format="channels_last", dtype=policy, name="average")(values)
        return finish(keras.Model(images, softmax_head(values, 10, policy), name="resnet"), None, {"seed": 0})


def _residual(values: Any, filters: int, stride: int, name: str, policy: str) -> Any:
    import keras

    inputs = values
    values = _normalised(values, filters, 3, stride, f"{name}_1", policy)
    values = keras.layers.Activation("relu", dtype=policy)(values)
    values = _normalised(values, filters, 3, 1, f"{name}_2", policy)
    if stride > 1:
        inputs = _normalised(inputs, filters, 1, stride, f"{name}_projection", policy)
    values = keras.layers.Add(dtype=policy)([inputs, values])
    return keras.layers.Activation("relu", dtype=policy)(values)


def _normalised(values: Any, filters: int, size: int, stride: int, name: str, policy: str) -> Any:
    import keras

    values = keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        data_format="channels_last",
        dtype=policy,
        name=name,
    )(values)
    return keras.layers.BatchNormalization(dtype=policy, name=f"{name}_normalization")(values)


def _images(height: int, width: int, channels: int) -> Callable[[int], Batches]:
    def make(rows: int) -> Batches:
        generator = stream(0, "compare", "images", rows)
        x = generator.random((rows, height, width, channels), dtype=np.float32)
        return Batches(x, generator.integers(10, size=rows, dtype=np.int32))

    return make


def _words(rows: int) -> Batches:
    generator = stream(0, "compare", "words", rows)
    words = generator.integers(1000, size=(rows, 21), dtype=np.int32)
    return Batches(words[:, :-1], words[:, -1])


WORKLOADS = (
    Workload("cnn", "three convolutions, images 28x28x1, 93 322 parameters", _cnn, _images(28, 28, 1), 4096),
    Workload("lstm", "LSTM of 128 units, 1 000 words, 20 steps, 388 584 parameters", _lstm, _words, 4096),
    Workload("gru", "GRU of 128 units, 1 000 words, 20 steps", _gru, _words, 4096),
    Workload("resnet", "ResNet-20 with batch normalization, images 32x32x3", _resnet, _images(32, 32, 3), 1024),
    Workload(
        "transfer",
        "frozen VGG16, new head, images 64x64x3",
        _transfer,
        _images(64, 64, 3),
        128,
        batch_size=16,
        epochs=10,
        round_seconds=15.0,
        frozen_front=True,
    ),
)
DEFAULT = ("cnn", "lstm", "transfer")
"""What is compared if nobody says."""
