"""A convolutional network for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.models import made_up
from unidl.models.arguments import Arguments
from unidl.models.builder import Builder, Recipe, Workload
from unidl.models.building import Tensor, dropout_layer, finish, layers_in, softmax_head

if TYPE_CHECKING:
    import keras


def build_cnn(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    filters: Sequence[int] = (32, 64, 64),
    kernel_size: int = 3,
    dense_units: int = 64,
    dropout: float = 0.0,
    batch_normalization: bool = False,
    precision: str | None = None,
    seed: int = 0,
    name: str = "cnn",
) -> keras.Model:
    """Build a convolutional network for images (batch, height, width, channels).

    A convolution for each of `filters`, with ReLU and without padding, and a 2x2 max-pooling after each but the last;
    then a dense layer with ReLU, and softmax.

    Args:
        input_shape: (height, width, channels) of an image, in pixels.
        classes: Number of classes, at least 2.
        filters: Output channels of each convolution, one number per convolution.
        kernel_size: Height and width of the kernel of each convolution, in pixels.
        dense_units: The units of the dense layer.
        dropout: Fraction of the outputs of the dense layer to drop; at least 0 and below 1.
        batch_normalization: Whether each convolution is normalized before its ReLU.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled. It gives probabilities (batch, classes).

    Raises:
        ModelError: If such a network cannot exist, as where the images are too small for the poolings.
        PrecisionError: If the precision is unknown, or the device cannot compute in it.

    Examples:
        >>> import unidl
        >>> model = unidl.build_cnn((8, 8, 1), classes=4, filters=(4, 6), kernel_size=2, dense_units=8)
        >>> model.output_shape, model.count_params()
        ((None, 4), 358)
    """
    asked = Arguments("build_cnn")
    shape = asked.wholes("input_shape", input_shape, ("height", "width", "channels"))
    classes = asked.whole("classes", classes, minimum=2)
    filters = asked.wholes("filters", filters)
    kernel_size = asked.whole("kernel_size", kernel_size)
    dense_units = asked.whole("dense_units", dense_units)
    dropout = asked.fraction("dropout", dropout)
    batch_normalization = asked.flag("batch_normalization", batch_normalization)
    precision = asked.precision(precision)
    seed = asked.seed(seed)
    name = asked.model_name(name)
    _require_large_enough(asked, shape, len(filters), kernel_size)
    asked.refuse_too_large(parameters(shape, classes, filters, kernel_size, dense_units, batch_normalization))

    with layers_in(precision) as policy:
        import keras

        images = keras.Input(shape, name="image", dtype="float32")
        values = images
        for number, count in enumerate(filters, start=1):
            values = _convolution(values, number, count, kernel_size, batch_normalization, policy)
            if number < len(filters):
                pool = keras.layers.MaxPooling2D(2, data_format="channels_last", dtype=policy, name=f"pool_{number}")
                values = pool(values)
        values = keras.layers.Flatten(data_format="channels_last", dtype=policy, name="flatten")(values)
        values = keras.layers.Dense(dense_units, activation="relu", dtype=policy, name="dense")(values)
        if dropout:
            values = dropout_layer(dropout, seed, "dropout", policy)(values)
        model = keras.Model(images, softmax_head(values, classes, policy), name=name)
        return finish(model, "cnn", asked.values)


def parameters(
    shape: Sequence[int],
    classes: int,
    filters: Sequence[int],
    kernel_size: int,
    dense_units: int,
    batch_normalization: bool,
) -> int:
    """Return the number of parameters of the network, trainable or not, before it is built."""
    height, width, channels = shape
    total = 0
    for number, count in enumerate(filters, start=1):
        # Batch normalization has four values per channel and makes the bias redundant.
        total += kernel_size**2 * channels * count + count * (4 if batch_normalization else 1)
        pooling = 2 if number < len(filters) else 1
        height, width = ((side - kernel_size + 1) // pooling for side in (height, width))
        channels = count
    flat = math.prod((height, width, channels))
    return total + (flat + 1) * dense_units + (dense_units + 1) * classes


def _require_large_enough(asked: Arguments, shape: tuple[int, ...], convolutions: int, kernel_size: int) -> None:
    smallest = kernel_size
    for _ in range(convolutions - 1):
        smallest = 2 * smallest + kernel_size - 1
    if min(shape[:2]) < smallest:
        kernel = f"{kernel_size}x{kernel_size}"
        layers = f"{convolutions} convolutions of {kernel} with a 2x2 pooling between them need"
        if convolutions == 1:
            layers = f"a convolution of {kernel} needs"
        because = (
            f"{layers} images of at least {smallest}x{smallest} pixels.\n"
            "Use larger images, fewer filters or a smaller kernel_size"
        )
        raise asked.refused("input_shape", shape, because)


def _convolution(
    values: Tensor,
    number: int,
    filters: int,
    kernel_size: int,
    batch_normalization: bool,
    policy: str,
) -> Tensor:
    import keras

    values = keras.layers.Conv2D(
        filters,
        kernel_size,
        activation=None if batch_normalization else "relu",
        use_bias=not batch_normalization,
        data_format="channels_last",
        dtype=policy,
        name=f"conv_{number}",
    )(values)
    if not batch_normalization:
        return values
    values = keras.layers.BatchNormalization(dtype=policy, name=f"normalization_{number}")(values)
    return keras.layers.Activation("relu", dtype=policy, name=f"relu_{number}")(values)


CNN = Builder(
    name="cnn",
    build=build_cnn,
    task="image classifier",
    from_data=("input_shape", "classes"),
    recipe=Recipe("digits", epochs=10, batch_size=64, learning_rate=3e-3, schedule="cosine"),
    head=lambda given: "flatten",
    smallest_head=lambda given: {"classes": 2, "dense_units": 1},
    workload=Workload(
        "cnn",
        "three convolutions, images 28x28x1, 93 322 parameters",
        build=lambda precision: build_cnn(precision=precision),
        data=made_up.images(28, 28, 1),
        rows=4096,
    ),
)
