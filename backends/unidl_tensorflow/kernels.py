"""Kernels for TensorFlow that compute the same results faster than Keras's functions, which they replace during
tracing; and one that corrects wrong results.

Each replaces one function of Keras, and only if it returns the same values and gradients here: `REPLACEMENTS.off`
returns the disabled ones with reasons. Import this module through `unidl_tensorflow.replacing`.
"""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from unidl.kernels import looked_up, noticed, recurs_plainly
from unidl.replacements import Replacement, Replacements
from unidl_tensorflow import keras_internals as places
from unidl_tensorflow import kernel_checks as checks
from unidl_tensorflow import kernels_images, kernels_recurrent
from unidl_tensorflow.kernels_images import tensor_of
from unidl_tensorflow.kernels_recurrent import Given, LookedUp, Projected

ops: Any = keras.ops  # Keras's annotations allow results that are not tensors

MOST_STEPS = 100
"""Maximum time steps that are unrolled; for more, which would make the graph too large, Keras's own loop is used."""
ROWS_A_CORE = 16
"""Minimum rows of the part of a batch that is assigned to a core."""
MOST_CHAINED = 400
"""Maximum time steps in all parts of a batch together."""


def lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, **options: Any,
) -> Any:  # fmt: skip
    """An LSTM without mask and with default activations. inputs: (batch, time, features)."""
    if options or not _suits(inputs, mask, bias, activation, recurrent_activation, unroll):
        return _lstm(
            inputs, initial_state_h, initial_state_c, mask, kernel, recurrent_kernel, bias, activation,
            recurrent_activation, return_sequences, go_backwards, unroll, **options,
        )  # fmt: skip
    given = _given(inputs, kernel, tensor_of(bias), go_backwards)
    weights = (initial_state_h, initial_state_c, tensor_of(recurrent_kernel))
    outputs, cell = kernels_recurrent.lstm(given, *weights, sequences=return_sequences)
    last, sequence = _last_and_all(outputs, return_sequences)
    return last, sequence, [last, cell]


def gru(
    inputs: Any, initial_state: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any, activation: Any,
    recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False, unroll: bool = False,
    time_major: bool = False, reset_after: bool = True,
) -> Any:  # fmt: skip
    """A GRU with reset_after, without mask and with default activations. inputs: (batch, time, features)."""
    if time_major or not reset_after or not _suits(inputs, mask, bias, activation, recurrent_activation, unroll):
        return _gru(
            inputs, initial_state, mask, kernel, recurrent_kernel, bias, activation, recurrent_activation,
            return_sequences, go_backwards, unroll, time_major, reset_after,
        )  # fmt: skip
    of_inputs, of_hidden = tf.unstack(tensor_of(bias))
    given = _given(inputs, kernel, of_inputs, go_backwards)
    weights = (initial_state, tensor_of(recurrent_kernel), of_hidden)
    last, sequence = _last_and_all(kernels_recurrent.gru(given, *weights, sequences=return_sequences), return_sequences)
    return last, sequence, [last]


def adam(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Keras's Adam, which equals TensorFlow's own kernel, including the position of epsilon."""
    plain = isinstance(variable, tf.Variable) and variable.dtype == tf.float32 and isinstance(gradient, tf.Tensor)
    if self.amsgrad or not plain:
        _update_step(self, gradient, variable, learning_rate)
        return
    momentum, velocity = places.slots_of(self, variable)
    step = tf.cast(ops.convert_to_tensor(self.iterations) + 1, tf.float32)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=tf.pow(tf.constant(self.beta_1, tf.float32), step),
        beta2_power=tf.pow(tf.constant(self.beta_2, tf.float32), step),
        lr=tf.cast(learning_rate, tf.float32),
        beta1=self.beta_1,
        beta2=self.beta_2,
        epsilon=self.epsilon,
        grad=tf.cast(gradient, tf.float32),
    )


def filter_empty_gradients(self: Any, grads: Any, vars: Any) -> Any:
    """Sum the gradients of repeated tokens in embeddings, as an optimizer requires. Keras 3.15.1
    passes them on unsummed and squares those of one token separately: embeddings then learn at a different rate than on
    JAX and PyTorch."""
    dense = [tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads]
    return _filter_empty_gradients(self, dense, vars)


_filter_empty_gradients, _lstm, _gru, _update_step = (
    place.original for place in (places.FILTERED_GRADIENTS, places.LSTM, places.GRU, places.ADAM)
)

REPLACEMENTS = Replacements(
    [
        Replacement("convolution", places.CONVOLUTION, kernels_images.convolution_call, checks.convolution),
        Replacement("max-pooling", places.MAX_POOLING, kernels_images.max_pool, checks.max_pooling),
        Replacement(
            "BatchNormalization", places.NORMALIZATION, kernels_images.normalization_call, checks.normalization
        ),
        Replacement("Embedding", places.EMBEDDING, noticed(places.EMBEDDING.original), checks.embedding),
        Replacement("LSTM", places.LSTM, lstm, checks.lstm),
        Replacement("GRU", places.GRU, gru, checks.gru),
        Replacement(
            "repeated tokens",
            places.FILTERED_GRADIENTS,
            filter_empty_gradients,
            checks.repeated_tokens,
            corrects="an optimizer such as Adam squares the gradients of a repeated token separately, so embeddings "
            "learn at a different rate than on JAX and PyTorch",
        ),
        Replacement("Adam", places.ADAM, adam, checks.adam),
    ],
    package="unidl_tensorflow",
    modules=("tensorflow",),
)


def _suits(inputs: Any, mask: Any, bias: Any, activation: Any, recurrent_activation: Any, unroll: bool) -> bool:
    return (
        recurs_plainly(mask, activation, recurrent_activation, unroll)
        and bias is not None
        and isinstance(inputs, tf.Tensor)
        and inputs.dtype == tf.float32
        and (inputs.shape[1] or MOST_STEPS + 1) <= MOST_STEPS
    )


def _sizes(inputs: Any) -> list[int]:
    """Return the rows of each part of the inputs (batch, time, features) per core; empty if the batch is not split."""
    rows: int = inputs.shape[0] or 0  # 0: unknown
    count = max(1, min(_cores(), rows // ROWS_A_CORE, MOST_CHAINED // inputs.shape[1]))
    return [rows * (part + 1) // count - rows * part // count for part in range(count)] if count > 1 else []


def _cores() -> int:
    wanted = tf.config.threading.get_inter_op_parallelism_threads()
    return wanted or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _given(inputs: tf.Tensor, kernel: Any, bias: tf.Tensor, backwards: bool) -> Given:
    """Return the inputs (batch, time, features) times their kernel plus the bias, in the order in which a layer reads
    them."""
    table, tokens = looked_up(inputs) or (None, None)
    if not isinstance(tokens, tf.Tensor):
        steps = tf.transpose(inputs, (1, 0, 2))
        steps = steps[::-1] if backwards else steps
        products = tf.matmul(tf.reshape(steps, (-1, inputs.shape[-1])), tensor_of(kernel)) + bias
        return Projected(tf.reshape(products, (steps.shape[0], -1, products.shape[-1])), _sizes(inputs))
    products: Any = tf.matmul(tensor_of(table), tensor_of(kernel)) + bias
    # As in Keras, negative axes count from the end.
    tokens = tf.unstack(tf.where(tokens < 0, tokens + products.shape[0], tokens), axis=1)
    return LookedUp(products, tokens[::-1] if backwards else tokens, _sizes(inputs))


def _last_and_all(outputs: tf.Tensor, sequences: bool) -> tuple[Any, Any]:
    """Return the output of the last step (batch, units), and the outputs of all steps or only of that one (batch, time,
    units)."""
    return (outputs[-1], tf.transpose(outputs, (1, 0, 2))) if sequences else (outputs, outputs[:, tf.newaxis])
