"""Every name of Keras for TensorFlow that Keras does not promise to keep.

Places are the functions that our kernels stand in for: without one of them its kernel stays off, and says so; all else
goes on. Keras 3.16 moves `keras.src.backend.tensorflow.nn` to `keras.src.backend.tensorflow.ops.nn`, and `lstm` and
`gru` to `keras.src.backend.tensorflow.rnn`. The functions at the end are what it takes to bring a model to a device;
they are needed.
"""

from __future__ import annotations

from typing import Any

from unidl.keras_internals import place_of
from unidl.keras_places import module, place

_NN = ("keras.src.backend.tensorflow.nn", "keras.src.backend.tensorflow.ops.nn")
_RECURRENT = ("keras.src.backend", "keras.src.backend.tensorflow.rnn")

CONVOLUTION = place("call", "keras.src.layers.convolutional.base_conv:BaseConv")
"""Its outputs say what they were made of, for the pooling behind it; `keras.layers` names the subclasses alone."""

MAX_POOLING = place("max_pool", *_NN)
"""It pools behind bias and ReLU, which are then computed for values that are thrown away."""

NORMALIZATION = place("call", "keras.layers:BatchNormalization")
"""It takes a dozen operations forward."""

SAMPLING = place("bilinear", "unidl.sampling")
"""Ours, not Keras's: it gathers four neighbours of each pixel by operations of their own."""

LSTM = place("lstm", *_RECURRENT)
"""On the CPU it is a loop that adds up the gradients of the weights step by step."""

GRU = place("gru", *_RECURRENT)
"""As the LSTM."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its rows say which table they were looked up in, for the LSTM or GRU behind it."""

ADAM = place("update_step", "keras.optimizers:Adam")
"""It takes a dozen operations for each variable, where TensorFlow has one."""

FILTERED_GRADIENTS = place("_filter_empty_gradients", "keras.src.optimizers.base_optimizer:BaseOptimizer")
"""It hands on the gradients of a repeated token one by one, and optimizers square them apart; `keras.optimizers` has a
subclass of this class alone."""


def is_channels_last(data_format: str | None) -> bool:
    """Whether a `data_format`, None being the default, means that channels come last. Without Keras's function: the
    check of max-pooling fails, and its kernel stays off."""
    return module("keras.src.backend").standardize_data_format(data_format) == "channels_last"


def slots_of(optimizer: Any, variable: Any) -> tuple[Any, Any]:
    """Return Adam's momentum and velocity of a variable. Without them: the check of Adam fails, and it stays off."""
    number = place_of(optimizer, variable)
    return optimizer._momentums[number], optimizer._velocities[number]


def native(variable: Any) -> Any:
    """Return TensorFlow's variable. Needed: `value` is a tensor, or that of the scope in use."""
    return variable._value


def move(variable: Any) -> None:
    """Put a copy of a Keras variable in its place, on the device of the scope in use. Needed: a variable of TensorFlow
    cannot move."""
    import tensorflow as tf

    variable._initialize(tf.identity(variable._value))


def remember_variables(optimizer: Any) -> None:
    """Let an optimizer find its state again: it looks for it by a number that TensorFlow gives each variable. Needed
    behind `move`; an optimizer that has no such table needs none."""
    if getattr(optimizer, "built", False) and hasattr(optimizer, "_trainable_variables_indices"):
        optimizer._trainable_variables_indices = {
            optimizer._var_key(variable): index for index, variable in enumerate(optimizer._trainable_variables)
        }
