"""Attention, normalization, embeddings, activations, regularizers and constraints."""

from __future__ import annotations

import keras
import numpy as np
from cases import TO_TWO, Case, chain, compiled, noise, padded, regressor, whole
from keras import layers

SERIES = (noise(5, 4), TO_TWO)


def attending(kind, *arguments, causal=False, **options):
    def build():
        inputs = keras.Input((5, 4))
        values = layers.Dense(4, activation="tanh")(inputs)
        layer = getattr(layers, kind)(*arguments, **options)
        listed = kind in ("Attention", "AdditiveAttention")
        given = ([values, inputs, values],) if listed else (values, inputs)
        found = layer(*given, use_causal_mask=causal)
        return compiled(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(found))))

    return build


class Places(layers.Layer):
    """Adds a vector for each place, and keeps the mask."""

    supports_masking = True

    def build(self, shape):
        self.places = layers.Embedding(shape[1], shape[2])
        self.places.build(None)

    def call(self, inputs):
        return inputs + self.places(keras.ops.arange(inputs.shape[1]))


def transformer():
    tokens = keras.Input((7,), dtype="int32")
    values = Places()(layers.Embedding(9, 6, mask_zero=True)(tokens))
    found = layers.MultiHeadAttention(2, 3, dropout=0.1, seed=2)(values, values, use_causal_mask=True)
    values = layers.LayerNormalization(epsilon=1e-6)(values + found)
    inner = layers.Dense(6)(layers.Dense(12, activation="gelu")(values))
    values = layers.LayerNormalization()(values + layers.Dropout(0.1, seed=3)(inner))
    model = keras.Model(tokens, layers.Dense(9)(values))
    return compiled(
        model,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
        metrics=["accuracy"],
    )


def normalizing(shape, *parts):
    return lambda: regressor(shape, *(part() for part in parts), metrics=["mae"])


def adapted():
    layer = layers.Normalization()
    layer.adapt(3.0 + 2.0 * noise(4, seed=9))
    return layer


def activated(*names):
    return lambda: regressor((4,), *(part for name in names for part in (layers.Dense(4), layers.Activation(name))))


def tied():
    tokens = keras.Input((5,), dtype="int32")
    table = layers.ReversibleEmbedding(9, 4)
    values = layers.Dense(4, activation="tanh")(table(tokens))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(keras.Model(tokens, table(values, reverse=True)), loss=loss)


def regularized():
    return regressor(
        (4,),
        layers.Dense(5, kernel_regularizer=keras.regularizers.L1L2(1e-2, 1e-2), bias_regularizer="l2"),
        layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.05)),
        layers.Dense(3, kernel_regularizer="l1"),
    )


def constrained():
    return regressor(
        (4,),
        layers.Dense(5, kernel_constraint=keras.constraints.MaxNorm(0.7), bias_constraint="non_neg"),
        layers.Dense(4, activation="tanh", kernel_constraint=keras.constraints.UnitNorm()),
        layers.Dense(3, kernel_constraint=keras.constraints.MinMaxNorm(0.5, 0.8, rate=0.9)),
    )


CASES = [
    Case("multi-head attention", attending("MultiHeadAttention", 2, 3), SERIES),
    Case("causal multi-head attention", attending("MultiHeadAttention", 2, 3, causal=True), SERIES),
    # With value_dim= another than key_dim=, Keras's own layer fails on JAX.
    Case("grouped-query attention", attending("GroupQueryAttention", 3, 4, 2), SERIES),
    Case("attention", attending("Attention", use_scale=True, score_mode="dot"), SERIES),
    Case("attention, concatenated scores", attending("Attention", score_mode="concat", causal=True), SERIES),
    Case("additive attention", attending("AdditiveAttention"), SERIES),
    Case("transformer", transformer, (padded(9, 7), padded(9, 7, seed=2))),
    Case(
        "batch normalization",
        normalizing((6, 6, 2), lambda: layers.Conv2D(3, 3, use_bias=False), layers.BatchNormalization),
        (noise(6, 6, 2), TO_TWO),
        evaluates=True,
    ),
    Case(
        "batch normalization of other axes",
        normalizing(
            (4, 3),
            lambda: layers.BatchNormalization(axis=1, momentum=0.7, scale=False),
            lambda: layers.Dense(3),
            lambda: layers.BatchNormalization(center=False, epsilon=1e-2),
        ),
        (noise(4, 3), TO_TWO),
        evaluates=True,
    ),
    Case(
        "layer normalization",
        normalizing((4, 3), lambda: layers.Dense(4), layers.LayerNormalization, lambda: layers.LayerNormalization(-2)),
        (noise(4, 3), TO_TWO),
    ),
    Case(
        "group normalization",
        normalizing((5, 5, 4), lambda: layers.GroupNormalization(2), lambda: layers.GroupNormalization(-1)),
        (noise(5, 5, 4), TO_TWO),
    ),
    Case(
        "RMS and unit normalization",
        normalizing((4, 3), layers.RMSNormalization, lambda: layers.Dense(3), lambda: layers.UnitNormalization(axis=1)),
        (noise(4, 3), TO_TWO),
    ),
    Case(
        "spectral normalization",
        normalizing((5, 5, 2), lambda: layers.SpectralNormalization(layers.Conv2D(3, 2), power_iterations=2)),
        (noise(5, 5, 2), TO_TWO),
    ),
    Case("adapted normalization", normalizing((4,), adapted, lambda: layers.Dense(3)), (noise(4), TO_TWO)),
    Case(
        "adapted discretization, encoded categories",
        normalizing(
            (4,), lambda: layers.Discretization([-0.5, 0.0, 0.5]), lambda: layers.CategoryEncoding(4, "multi_hot")
        ),
        (noise(4), TO_TWO),
    ),
    Case("reversible embedding", tied, (whole(9, 5), whole(9, 5, seed=1))),
    Case(
        "embedding of tokens that come twice",
        lambda: regressor((6,), layers.Embedding(5, 3), dtype="int32"),
        (whole(5, 6), TO_TWO),
    ),
    Case(
        "einsum dense",
        lambda: regressor(
            (5, 4),
            layers.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="e", activation="tanh"),
            layers.EinsumDense("abde,ef->abdf", (5, 2, 2)),
        ),
        SERIES,
    ),
    Case(
        "activations, bounded", activated("sigmoid", "tanh", "hard_sigmoid", "softsign", "softmax"), (noise(4), TO_TWO)
    ),
    Case("activations, rectified", activated("relu6", "leaky_relu", "elu", "celu", "selu"), (noise(4), TO_TWO)),
    Case("activations, smooth", activated("gelu", "silu", "mish", "softplus", "squareplus"), (noise(4), TO_TWO)),
    Case(
        "activations, shrinking",
        activated("soft_shrink", "tanh_shrink", "hard_tanh", "hard_silu", "log_sigmoid", "exponential"),
        (0.3 * noise(4), TO_TWO),
    ),
    Case(
        "activations, sparse",
        activated("sparsemax", "sparse_plus", "sparse_sigmoid", "log_softmax"),
        (noise(4), TO_TWO),
    ),
    Case(
        "activation layers",
        lambda: regressor(
            (4, 3),
            layers.PReLU(shared_axes=[1]),
            layers.Dense(4),
            layers.LeakyReLU(0.3),
            layers.ELU(0.5),
            layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.1),
            layers.Softmax(axis=1),
        ),
        (noise(4, 3), TO_TWO),
    ),
    Case("weight regularizers", regularized, (noise(4), TO_TWO), evaluates=True),
    Case("constraints", constrained, (noise(4), TO_TWO)),
    Case(
        "integer inputs",
        lambda: chain((4,), layers.Rescaling(1 / 255), layers.Dense(2), dtype="uint8"),
        (whole(256, 4).astype(np.uint8), TO_TWO),
    ),
]
