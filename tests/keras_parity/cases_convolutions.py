"""Convolutions, pooling, padding and cropping, from one to three dimensions."""

from __future__ import annotations

import keras
from cases import TO_TWO, Case, noise, regressor
from keras import layers

SERIES, PICTURES, VOLUMES = (noise(12, 4), TO_TWO), (noise(8, 8, 4), TO_TWO), (noise(4, 5, 4, 2), TO_TWO)


def series(*parts):
    return lambda: regressor((12, 4), *(part() for part in parts))


def pictures(*parts):
    return lambda: regressor((8, 8, 4), *(part() for part in parts))


def volumes(*parts):
    return lambda: regressor((4, 5, 4, 2), *(part() for part in parts))


def layer(kind, *arguments, **options):
    return lambda: getattr(layers, kind)(*arguments, **options)


CASES = [
    Case(
        "1D convolutions",
        series(
            layer("Conv1D", 4, 3, padding="causal", dilation_rate=2, activation="tanh"),
            layer("Conv1D", 4, 3, strides=2, padding="same"),
            layer("Conv1D", 6, 2, groups=2, activation="relu"),
        ),
        SERIES,
    ),
    Case(
        "1D depthwise and separable convolutions",
        series(
            layer("DepthwiseConv1D", 3, depth_multiplier=2, activation="tanh"),
            layer("SeparableConv1D", 3, 3, strides=2, padding="same"),
        ),
        SERIES,
    ),
    Case(
        "1D transposed convolutions",
        series(
            layer("Conv1DTranspose", 3, 3, strides=2, padding="same", activation="tanh"),
            layer("Conv1DTranspose", 2, 2, use_bias=False),  # TensorFlow has no dilated one on the CPU
        ),
        SERIES,
    ),
    Case(
        "2D convolutions",
        pictures(
            layer("Conv2D", 4, 3, activation="relu"),
            layer("Conv2D", 4, (2, 3), strides=2, padding="same", activation="tanh"),
            layer("Conv2D", 4, 2, dilation_rate=2, padding="same", use_bias=False),
        ),
        PICTURES,
    ),
    Case(
        "2D grouped convolutions",
        pictures(
            layer("Conv2D", 8, 3, groups=4, activation="relu", padding="same"),
            layer("Conv2D", 6, 3, groups=2, strides=2, activation="gelu"),
        ),
        PICTURES,
    ),
    Case(
        "orthogonal kernels",
        pictures(
            layer("Conv2D", 4, 3, kernel_initializer="orthogonal", activation="relu"),
            layer("Conv2D", 3, 2, kernel_initializer="orthogonal", activation="tanh"),
        ),
        PICTURES,
    ),
    Case(
        "2D depthwise convolution",
        pictures(layer("DepthwiseConv2D", 3, depth_multiplier=2, strides=2, padding="same", activation="tanh")),
        PICTURES,
    ),
    Case(
        "2D separable convolutions",
        pictures(
            layer("SeparableConv2D", 4, 3, depth_multiplier=2, activation="tanh"),
            layer("SeparableConv2D", 3, 2, dilation_rate=2, padding="same"),
        ),
        PICTURES,
    ),
    Case(
        "2D transposed convolutions",
        pictures(
            layer("Conv2DTranspose", 4, 3, strides=2, padding="same", activation="relu"),
            layer("Conv2DTranspose", 3, 2, padding="valid"),
        ),
        PICTURES,
    ),
    Case(
        "3D convolutions",
        volumes(
            layer("Conv3D", 3, 2, activation="tanh", padding="same"),
            layer("Conv3D", 2, 2, strides=2),
        ),
        VOLUMES,
    ),
    Case(
        "3D transposed convolution",
        volumes(layer("Conv3DTranspose", 2, 2, strides=2, activation="tanh"), layer("MaxPooling3D", 2)),
        VOLUMES,
    ),
    Case(
        "largest values of windows",
        pictures(
            layer("Conv2D", 4, 3, padding="same", activation="relu"),
            layer("MaxPooling2D", 3, strides=2, padding="same"),
            layer("MaxPooling2D", 2, strides=1),
        ),
        PICTURES,
    ),
    Case(
        "averages of windows",
        pictures(
            layer("Conv2D", 4, 3, padding="same"),
            layer("AveragePooling2D", 3, strides=2),
            layer("AveragePooling2D", 2, strides=1, padding="valid"),
        ),
        PICTURES,
    ),
    Case(
        "pooling of series",
        series(
            layer("Conv1D", 4, 2),
            layer("MaxPooling1D", 2, strides=1, padding="same"),
            layer("AveragePooling1D", 2),
            layer("AdaptiveAveragePooling1D", 2),
        ),
        SERIES,
    ),
    Case("pooling of volumes", volumes(layer("Conv3D", 2, 2), layer("AveragePooling3D", 2)), VOLUMES),
    Case(
        "adaptive pooling",
        pictures(layer("Conv2D", 4, 2), layer("AdaptiveMaxPooling2D", 4), layer("AdaptiveAveragePooling2D", 2)),
        PICTURES,
    ),
    Case(
        "global pooling",
        pictures(layer("Conv2D", 4, 3), layer("GlobalMaxPooling2D", keepdims=True), layer("GlobalAveragePooling2D")),
        PICTURES,
    ),
    Case(
        "padding, cropping, growing of pictures",
        pictures(
            layer("ZeroPadding2D", ((1, 2), (0, 1))),
            layer("Conv2D", 3, 3, activation="relu"),
            layer("UpSampling2D", (2, 1)),
            layer("UpSampling2D", 2, interpolation="bilinear"),
            layer("Cropping2D", ((1, 0), (2, 3))),
        ),
        PICTURES,
    ),
    Case(
        "padding, cropping, growing of series",
        series(layer("ZeroPadding1D", (2, 1)), layer("Conv1D", 3, 2), layer("UpSampling1D", 2), layer("Cropping1D", 3)),
        SERIES,
    ),
    Case(
        "padding, cropping, growing of volumes",
        volumes(layer("ZeroPadding3D", 1), layer("Conv3D", 2, 2), layer("UpSampling3D", 2), layer("Cropping3D", 2)),
        VOLUMES,
    ),
    Case(
        "resizing and cropping to the middle",
        pictures(layer("Conv2D", 3, 2), layer("Resizing", 5, 9), layer("CenterCrop", 4, 4)),
        PICTURES,
    ),
    Case(
        "convolution network with max pooling and Adam",
        lambda: regressor(
            (8, 8, 4),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, activation="relu"),
            optimizer=keras.optimizers.Adam(0.01),
        ),
        PICTURES,
        share=1e-2,
    ),
]
