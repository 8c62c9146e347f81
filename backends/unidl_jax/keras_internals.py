"""All private names of Keras's JAX backend that this adapter uses: the functions that its kernels replace.

If one is missing, its kernel is disabled and reported; everything else works. Keras 3.16 moves
`keras.src.backend.jax.nn` to `keras.src.backend.jax.ops.nn`, and `lstm` and `gru` to `keras.src.backend.jax.rnn`.
"""

from __future__ import annotations

from typing import Any

from unidl.keras_places import module, place

_NN = ("keras.src.backend.jax.nn", "keras.src.backend.jax.ops.nn")
_RECURRENT = ("keras.src.backend", "keras.src.backend.jax.rnn")

CONVOLUTION = place("conv", *_NN)
"""XLA:CPU computes gradients of convolutions more slowly than matrix products (jax issue 12868)."""

MAX_POOLING = place("max_pool", *_NN)
"""On XLA:CPU the gradient for non-overlapping windows is slow."""

LSTM = place("lstm", *_RECURRENT)
"""Keras accumulates the gradients of the weights step by step."""

GRU = place("gru", *_RECURRENT)
"""As for the LSTM."""

ATTENTION = place("dot_product_attention", *_NN)
"""XLA:CPU has no matrix product of float16 that adds up in float32, which `jax.nn.dot_product_attention` asks for."""

GPU_THERE = place("_is_gpu_available", "keras.src.backend.jax.rnn")
"""Asks whether the machine has a GPU, not whether the LSTM is computed on it; cuDNN computes on nothing else."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its outputs record the table they were looked up in, for a following LSTM or GRU."""

SAMPLING = place("bilinear", "unidl.sampling")
"""XLA:CPU fuses the lookups of `keras.ops.take` with what computes their places, and repeats it for each."""


def chooses_cudnn(activation: Any, recurrent_activation: Any) -> bool:
    """Return whether Keras would call cuDNN for an LSTM with these activations; False for a Keras that never does."""
    chooses = place("cudnn_ok", *_RECURRENT).original
    return chooses is not None and bool(chooses(activation, recurrent_activation, False))


def is_channels_last(data_format: str | None) -> bool:
    """Return whether a `data_format`, None meaning the default, is channels last. Without Keras's function: the
    checks of convolution and max-pooling fail, and their kernels are disabled."""
    return module("keras.src.backend").standardize_data_format(data_format) == "channels_last"
