"""Every name of Keras for JAX that Keras does not promise to keep: the functions that our kernels stand in for.

Without one of them its kernel stays off, and says so; all else goes on. Keras 3.16 moves `keras.src.backend.jax.nn` to
`keras.src.backend.jax.ops.nn`, and `lstm` and `gru` to `keras.src.backend.jax.rnn`.
"""

from __future__ import annotations

from unidl.keras_places import module, place

_NN = ("keras.src.backend.jax.nn", "keras.src.backend.jax.ops.nn")
_RECURRENT = ("keras.src.backend", "keras.src.backend.jax.rnn")

CONVOLUTION = place("conv", *_NN)
"""XLA:CPU computes the gradients of a convolution slower than matrix products (jax issue 12868)."""

MAX_POOLING = place("max_pool", *_NN)
"""XLA:CPU has a slow gradient of windows that do not overlap."""

LSTM = place("lstm", *_RECURRENT)
"""Keras adds up the gradients of the weights step by step."""

GRU = place("gru", *_RECURRENT)
"""As for the LSTM."""

ATTENTION = place("dot_product_attention", *_NN)
"""XLA:CPU has no matrix product of float16 that adds up in float32, which `jax.nn.dot_product_attention` asks for."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its rows say which table they were looked up in, for the LSTM or GRU behind it."""


def is_channels_last(data_format: str | None) -> bool:
    """Whether a `data_format`, None being the default, means that channels come last. Without Keras's function: the
    checks of convolution and max-pooling fail, and their kernels stay off."""
    return module("keras.src.backend").standardize_data_format(data_format) == "channels_last"
