"""Kernels for PyTorch that compute the same results faster than Keras's functions, which they replace during training;
and some that correct wrong results.

Each replaces one function of Keras, and only if it returns the same values and gradients here: `REPLACEMENTS.off`
returns the disabled ones with reasons. Import this module through `unidl_torch.replacing`.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras

from unidl.kernels import noticed
from unidl.replacements import Replacement, Replacements
from unidl_torch import (
    keras_internals as places,
)
from unidl_torch import (
    kernel_cases as cases,
)
from unidl_torch import (
    kernels_corrections,
    kernels_images,
    kernels_losses,
    kernels_optimizers,
    kernels_random,
    kernels_recurrent,
    kernels_values,
)
from unidl_torch.kernel_checks import of_layers, of_operation, of_optimizers


def _images() -> Iterator[Replacement]:
    yield Replacement(
        "channels-last images",
        places.TRANSPOSED_INPUTS,
        kernels_images.transpose_spatial_inputs,
        of_layers(cases.transposed),
    )
    yield Replacement("convolution", places.CONVOLUTION, kernels_images.convolution_call, of_layers(cases.convolution))
    yield Replacement(
        "BatchNormalization", places.NORMALIZATION, kernels_images.normalization_call, of_layers(cases.normalization)
    )
    yield Replacement(
        "average pooling",
        places.AVERAGE_POOLING,
        kernels_corrections.average_pool,
        of_layers(cases.average_pooling),
        corrects='with padding="same", averages of windows that are padded on one side include the padding',
    )
    yield Replacement(
        "bicubic resizing",
        places.FUNCTIONAL_OF_IMAGES,
        kernels_corrections.Functional(),
        of_layers(cases.bicubic),
        corrects="bicubic resizing without antialiasing is wrong by up to a fifth of the value range",
    )


def _losses() -> Iterator[Replacement]:
    yield Replacement("softmax", places.SOFTMAX, kernels_losses.softmax, of_layers(cases.softmax))
    yield Replacement(
        "crossentropy",
        places.CROSSENTROPY,
        kernels_losses.sparse_categorical_crossentropy,
        of_layers(cases.crossentropy),
    )
    yield Replacement("one_hot", places.ONE_HOT, kernels_values.one_hot, of_operation(cases.one_hot))
    yield Replacement("cond", places.COND, kernels_values.cond, of_operation(cases.cond))
    yield Replacement("scatter", places.SCATTER, kernels_values.scatter, of_operation(cases.scatter))


def _draws() -> Iterator[Replacement]:
    yield Replacement("dropout", places.DROPOUT, kernels_random.dropout, of_layers(cases.dropout))
    yield Replacement("uniform", places.UNIFORM, kernels_random.uniform, of_operation(cases.uniform))
    yield Replacement("normal", places.NORMAL, kernels_random.normal, of_operation(cases.normal))
    yield Replacement("randint", places.RANDINT, kernels_random.randint, of_operation(cases.randint))
    yield Replacement("categorical", places.CATEGORICAL, kernels_random.categorical, of_operation(cases.categorical))


def _recurrent() -> Iterator[Replacement]:
    lstm, gru = keras.layers.LSTM, keras.layers.GRU
    yield Replacement("Embedding", places.EMBEDDING, noticed(places.EMBEDDING.original), of_layers(cases.embedding))
    yield Replacement("LSTM", places.LSTM, kernels_recurrent.lstm, of_layers(lambda: cases.recurrent(lstm)))
    yield Replacement("GRU", places.GRU, kernels_recurrent.gru, of_layers(lambda: cases.recurrent(gru)))
    yield Replacement(
        "masked LSTM", places.MASKED_LSTM, kernels_recurrent.lstm_inner_loop, of_layers(lambda: cases.masked(lstm))
    )
    yield Replacement(
        "masked GRU", places.MASKED_GRU, kernels_recurrent.gru_inner_loop, of_layers(lambda: cases.masked(gru))
    )


def _optimizers() -> Iterator[Replacement]:
    yield Replacement("Adam", places.ADAM, kernels_optimizers.adam, of_optimizers(cases.ADAM))
    yield Replacement("SGD", places.SGD, kernels_optimizers.sgd, of_optimizers(cases.SGD))
    yield Replacement("Nadam", places.CORE_OF_NADAM, kernels_optimizers.Core(), of_optimizers(cases.NADAM))
    yield Replacement("Adadelta", places.TORCH_OF_ADADELTA, kernels_values.Torch(), of_optimizers(cases.ADADELTA))


REPLACEMENTS = Replacements(
    [*_images(), *_losses(), *_draws(), *_recurrent(), *_optimizers()], package="unidl_torch", modules=("torch",)
)
