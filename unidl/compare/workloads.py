"""Workloads of the comparison: those of the builders, and of two more models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unidl.errors import UsageError
from unidl.models import builders, made_up
from unidl.models.builder import Workload

if TYPE_CHECKING:
    import keras

LEARNING_RATE = 1e-3
"""Adam's learning rate in every implementation."""


def names() -> list[str]:
    """Return the names of all workloads: of the builders, and of models that are only used in comparisons."""
    return [*builders.names(), *OTHERS]


def workload(name: str) -> Workload:
    """Return the workload of that name. Raises `UsageError` if it does not exist, `ModelError` if a plugin is
    broken."""
    if name in OTHERS:
        return OTHERS[name]
    if name not in builders.names():
        raise UsageError(f"Unknown model {name!r} to compare. Known: {', '.join(names())}.")
    found = builders.builder(name).workload
    if found is None:
        raise UsageError(f"Cannot compare {name!r}: its builder has no workload. Known: {', '.join(names())}.")
    return found


def _gru(precision: str) -> keras.Model:
    from unidl import build_lstm

    return build_lstm(cell="gru", name="gru", precision=precision)


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


OTHERS = {
    "gru": Workload("gru", "GRU of 128 units, 1 000 words, 20 steps", _gru, made_up.words(20), 4096),
    "resnet": Workload(
        "resnet", "ResNet-20 with batch normalization, images 32x32x3", _resnet, made_up.images(32, 32, 3), 1024
    ),
}
"""Workloads in addition to those of the builders."""
DEFAULT = ("cnn", "lstm", "transfer")
"""Models that are compared by default."""
