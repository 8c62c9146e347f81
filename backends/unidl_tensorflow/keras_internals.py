"""All private names of Keras's TensorFlow backend that this adapter uses.

Places are the functions that the kernels replace: if one is missing, its kernel is disabled and reported; everything
else works. Keras 3.16 moves `keras.src.backend.tensorflow.nn` to `keras.src.backend.tensorflow.ops.nn`, and `lstm` and
`gru` to `keras.src.backend.tensorflow.rnn`. The functions at the end move a model to a device; they are needed.
"""

from __future__ import annotations

from typing import Any

from unidl.keras_internals import place_of
from unidl.keras_places import module, place

_NN = ("keras.src.backend.tensorflow.nn", "keras.src.backend.tensorflow.ops.nn")
_RECURRENT = ("keras.src.backend", "keras.src.backend.tensorflow.rnn")

CONVOLUTION = place("call", "keras.src.layers.convolutional.base_conv:BaseConv")
"""Its outputs record how they were computed, for a following pooling; `keras.layers` exports only the subclasses."""

MAX_POOLING = place("max_pool", *_NN)
"""It pools after bias and ReLU, which are then computed for values that are discarded."""

NORMALIZATION = place("call", "keras.layers:BatchNormalization")
"""It takes a dozen operations forward."""

LSTM = place("lstm", *_RECURRENT)
"""On the CPU it is a loop that accumulates the gradients of the weights step by step."""

GRU = place("gru", *_RECURRENT)
"""As for the LSTM."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its outputs record the table they were looked up in, for a following LSTM or GRU."""

ADAM = place("update_step", "keras.optimizers:Adam")
"""It uses a dozen operations per variable, where TensorFlow has a single one."""

FILTERED_GRADIENTS = place("_filter_empty_gradients", "keras.src.optimizers.base_optimizer:BaseOptimizer")
"""It passes on the gradients of a repeated token separately, and optimizers square them separately; `keras.optimizers`
exports only a subclass of this class."""


def is_channels_last(data_format: str | None) -> bool:
    """Return whether a `data_format`, None meaning the default, is channels last. Without Keras's function: the
    check of max-pooling fails, and its kernel is disabled."""
    return module("keras.src.backend").standardize_data_format(data_format) == "channels_last"


def slots_of(optimizer: Any, variable: Any) -> tuple[Any, Any]:
    """Return Adam's momentum and velocity of a variable. Without them: the check of Adam fails, and it is disabled."""
    number = place_of(optimizer, variable)
    return optimizer._momentums[number], optimizer._velocities[number]


def native(variable: Any) -> Any:
    """Return TensorFlow's variable. Needed: `value` is a tensor, or the value in the current scope."""
    return variable._value


def move(variable: Any) -> None:
    """Replace the value of a Keras variable by a copy on the device of the current scope. Needed: a TensorFlow variable
    cannot move."""
    import tensorflow as tf

    variable._initialize(tf.identity(variable._value))


def remember_variables(optimizer: Any) -> None:
    """Update an optimizer's table of state, which is indexed by an id that TensorFlow gives each variable. Needed
    after `move`; optimizers without such a table do not need this."""
    if getattr(optimizer, "built", False) and hasattr(optimizer, "_trainable_variables_indices"):
        optimizer._trainable_variables_indices = {
            optimizer._var_key(variable): index for index, variable in enumerate(optimizer._trainable_variables)
        }
