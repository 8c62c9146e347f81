"""Hand-written references for `unidl compare`: the same models and their training in plain TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from unidl.backend import Device, Task
from unidl.errors import BackendError

Weights = Mapping[str, Any]
Logits = Callable[[Weights, Weights, tf.Tensor, bool], tf.Tensor]
"""Weights in the compute dtype, their variables, inputs (batch, ...), training flag -> logits."""


class TensorFlowReference:
    """Implements `Reference`: one `tf.function` over the steps, data on the device, the fused kernel of Adam."""

    def __init__(self, task: Task, device: Device) -> None:
        if task.model not in MODELS:
            raise BackendError(
                f"There is no reference for '{task.model}' in TensorFlow. Available: {', '.join(MODELS)}."
            )
        self._device = device.id
        self._logits, frozen = MODELS[task.model]
        self._rate = task.learning_rate
        self._dtype = task.precision.dtype_in("TensorFlow", {"float32": tf.float32, "bfloat16": tf.bfloat16})
        with tf.device(self._device):
            self._weights = {name: tf.Variable(tf.constant(value)) for name, value in task.weights.items()}
            fixed = (*frozen, *(name for name in task.weights if name.endswith(("moving_mean", "moving_variance"))))
            self._learning = [variable for name, variable in self._weights.items() if not name.startswith(fixed)]
            self._first = [tf.Variable(tf.zeros_like(variable)) for variable in self._learning]
            self._second = [tf.Variable(tf.zeros_like(variable)) for variable in self._learning]
            self._powers = [tf.Variable(tf.constant(1.0)), tf.Variable(tf.constant(1.0))]
            self._x, self._y = tf.constant(task.data.x), tf.constant(task.data.y)
        # XLA's convolutions are slower than oneDNN's on the CPU, and its LSTM than cuDNN's on a GPU.
        compiled = device.kind == "gpu" and task.model not in ("lstm", "gru")
        rows = tf.TensorSpec((None, None), tf.int32)
        self._train = tf.function(self._steps, input_signature=[rows], jit_compile=compiled, autograph=False)
        self._probabilities = tf.function(self._predict, reduce_retracing=True, jit_compile=compiled, autograph=False)

    def train(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        with tf.device(self._device):
            return float(self._train(tf.constant(rows.astype(np.int32))))

    def predict(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with tf.device(self._device):
            return self._probabilities(tf.constant(x)).numpy()

    def _steps(self, rows: tf.Tensor) -> tf.Tensor:
        def body(number: tf.Tensor, loss: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return number + 1, self._step(rows[number])

        count = tf.shape(rows)[0]
        start = (tf.constant(0), tf.constant(0.0))
        _, loss = tf.while_loop(lambda number, _: number < count, body, start, parallel_iterations=1)
        return loss

    def _step(self, batch: tf.Tensor) -> tf.Tensor:
        x, y = tf.gather(self._x, batch), tf.gather(self._y, batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._learning)
            logits = tf.cast(self._logits(self._cast(self._weights), self._weights, self._cast(x), True), tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._learning)
        self._powers[0].assign(self._powers[0] * 0.9)
        self._powers[1].assign(self._powers[1] * 0.999)
        for number, gradient in enumerate(gradients):
            tf.raw_ops.ResourceApplyAdam(
                var=self._learning[number].handle,
                m=self._first[number].handle,
                v=self._second[number].handle,
                beta1_power=self._powers[0],
                beta2_power=self._powers[1],
                lr=self._rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=tf.convert_to_tensor(gradient),
            )
        return loss

    def _predict(self, x: tf.Tensor) -> tf.Tensor:
        logits = self._logits(self._cast(self._weights), self._weights, self._cast(x), False)
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    def _cast(self, tree: Any) -> Any:
        if self._dtype == tf.float32:
            return tree
        return tf.nest.map_structure(
            lambda leaf: tf.cast(leaf, self._dtype) if leaf.dtype == tf.float32 else leaf, tree
        )


def cnn(weights: Weights, variables: Weights, images: tf.Tensor, training: bool) -> tf.Tensor:
    """Three convolutions with pooling in between, a hidden layer, logits."""
    values = _pool(tf.nn.relu(_convolution(weights, "conv_1", images)))
    values = _pool(tf.nn.relu(_convolution(weights, "conv_2", values)))
    values = tf.nn.relu(_convolution(weights, "conv_3", values))
    return _head(weights, values)


def lstm(weights: Weights, variables: Weights, tokens: tf.Tensor, training: bool) -> tf.Tensor:
    """An embedding, an LSTM, logits after the last step. Gates: input, forget, candidate, output."""
    kernel, recurrent, bias = _recurrent(weights, "lstm")
    embedded = tf.nn.embedding_lookup(weights["embedding#0/embeddings"], tf.transpose(tokens))
    inputs = tf.unstack(tf.matmul(embedded, kernel) + bias, num=tokens.shape[1])
    hidden = cell = tf.zeros_like(inputs[0][:, : recurrent.shape[0]])
    for from_input in inputs:  # unrolled: a loop inside the graph costs more than these few steps
        enter, forget, candidate, leave = tf.split(from_input + tf.matmul(hidden, recurrent), 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(candidate)
        hidden = tf.sigmoid(leave) * tf.tanh(cell)
    return _dense(weights, "logits", hidden)


def gru(weights: Weights, variables: Weights, tokens: tf.Tensor, training: bool) -> tf.Tensor:
    """An embedding, a GRU, logits after the last step. Gates: update, reset, candidate."""
    kernel, recurrent, bias = _recurrent(weights, "gru")
    embedded = tf.nn.embedding_lookup(weights["embedding#0/embeddings"], tf.transpose(tokens))
    inputs = tf.unstack(tf.matmul(embedded, kernel) + bias[0], num=tokens.shape[1])
    hidden = tf.zeros_like(inputs[0][:, : recurrent.shape[0]])
    for from_input in inputs:
        update, reset, candidate = tf.split(from_input, 3, axis=-1)
        from_hidden = tf.split(tf.matmul(hidden, recurrent) + bias[1], 3, axis=-1)
        update = tf.sigmoid(update + from_hidden[0])
        candidate = tf.tanh(candidate + tf.sigmoid(reset + from_hidden[1]) * from_hidden[2])
        hidden = update * hidden + (1 - update) * candidate
    return _dense(weights, "logits", hidden)


def resnet(weights: Weights, variables: Weights, images: tf.Tensor, training: bool) -> tf.Tensor:
    """ResNet-20 (He et al. 2015)."""

    def normalised(name: str, values: tf.Tensor, stride: int = 1) -> tf.Tensor:
        return _normalised(weights, variables, name, values, stride, training)

    values = tf.nn.relu(normalised("stem", images))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            name = f"stage_{stage}_block_{block}"
            smaller = f"{name}_projection/kernel" in weights
            stride = 2 if smaller else 1
            shortcut = normalised(f"{name}_projection", values, stride) if smaller else values
            values = tf.nn.relu(normalised(f"{name}_1", values, stride))
            values = tf.nn.relu(normalised(f"{name}_2", values) + shortcut)
    return _dense(weights, "logits", tf.reduce_mean(values, axis=(1, 2)))


def transfer(weights: Weights, variables: Weights, images: tf.Tensor, training: bool) -> tf.Tensor:
    """VGG16 without its classifier, frozen, and a new head."""
    mean = tf.constant([103.939, 116.779, 123.68])  # of ImageNet, blue first: keras.applications.imagenet_utils
    values = tf.cast(tf.cast(tf.reverse(images, axis=[-1]), tf.float32) * 255 - mean, images.dtype)
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, count + 1):
            values = tf.nn.relu(_convolution(weights, f"vgg16/block{block}_conv{number}", values, padding="SAME"))
        values = _pool(values)
    return _head(weights, values)


def transformer(weights: Weights, variables: Weights, tokens: tf.Tensor, training: bool) -> tf.Tensor:
    """Causal pre-norm blocks, logits after the last step."""
    places = tf.range(tokens.shape[1])
    return _dense(weights, "logits", _encoded(weights, tokens, places[:, None] >= places[None, :])[:, -1])


def text_classifier(weights: Weights, variables: Weights, tokens: tf.Tensor, training: bool) -> tf.Tensor:
    """Pre-norm blocks that ignore padding, logits of the average of the other steps."""
    real = tf.not_equal(tokens, 0)
    steps = tf.cast(_encoded(weights, tokens, real[:, None, None, :]), tf.float32)
    counted = tf.expand_dims(tf.cast(real, tf.float32), -1)
    average = tf.reduce_sum(steps * counted, axis=1) / tf.maximum(tf.reduce_sum(counted, axis=1), 1.0)
    return _dense(weights, "logits", tf.cast(average, weights["logits/kernel"].dtype))


MODELS: Mapping[str, tuple[Logits, tuple[str, ...]]] = {
    "cnn": (cnn, ()),
    "lstm": (lstm, ()),
    "gru": (gru, ()),
    "resnet": (resnet, ()),
    "transfer": (transfer, ("vgg16/",)),
    "transformer": (transformer, ()),
    "text-classifier": (text_classifier, ()),
}
"""The model, and the prefixes of the names of its frozen weights."""


def _convolution(
    weights: Weights, name: str, values: tf.Tensor, *, padding: Literal["VALID", "SAME"] = "VALID", stride: int = 1
) -> tf.Tensor:
    values = tf.nn.conv2d(values, weights[f"{name}/kernel"], stride, padding)
    bias = weights.get(f"{name}/bias")
    return values if bias is None else tf.nn.bias_add(values, bias)


def _normalised(
    weights: Weights, variables: Weights, name: str, values: tf.Tensor, stride: int, training: bool
) -> tf.Tensor:
    """A convolution and its batch normalization, with Keras's momentum and epsilon."""
    values = _convolution(weights, name, values, padding="SAME", stride=stride)
    path = f"{name}_normalization"
    statistics = [variables[f"{path}/moving_mean"], variables[f"{path}/moving_variance"]]
    values, *batch = tf.compat.v1.nn.fused_batch_norm(
        values,
        variables[f"{path}/gamma"],
        variables[f"{path}/beta"],
        *([] if training else statistics),
        epsilon=1e-3,
        is_training=training,
    )
    if training:
        for variable, value in zip(statistics, batch, strict=True):
            variable.assign_add(0.01 * (value - variable))
    return values


def _pool(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(values, 2, 2, "VALID")


def _recurrent(weights: Weights, cell: str) -> tuple[Any, Any, Any]:
    path = f"{cell}#0/{cell}_cell#0"
    return weights[f"{path}/kernel"], weights[f"{path}/recurrent_kernel"], weights[f"{path}/bias"]


def _encoded(weights: Weights, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the steps (batch, time, units) after all blocks. mask: visible steps, broadcast to (batch, heads, time,
    time)."""
    values = tf.nn.embedding_lookup(weights["embedding#0/embeddings"], tokens) + weights["positions/embeddings"]
    hidden = tf.where(mask, tf.constant(0.0, values.dtype), tf.constant(-1e9, values.dtype))
    number = 1
    while f"block_{number}_expansion/kernel" in weights:
        name = f"block_{number}"
        inner = _layer_normalized(weights, f"{name}_attention_normalization", values)
        query, key, value = (_heads(weights, f"{name}_attention/{part}", inner) for part in ("query", "key", "value"))
        size = weights[f"{name}_attention/query/bias"].shape[-1]
        scores = tf.matmul(query * size**-0.5, key, transpose_b=True) + hidden
        seen = tf.matmul(tf.nn.softmax(scores), value)
        kernel, bias = (weights[f"{name}_attention/attention_output/{part}"] for part in ("kernel", "bias"))
        values = values + tf.einsum("bhtk,hku->btu", seen, kernel) + bias
        inner = _layer_normalized(weights, f"{name}_feedforward_normalization", values)
        inner = tf.nn.gelu(_steps_dense(weights, f"{name}_expansion", inner))
        values = values + _steps_dense(weights, f"{name}_contraction", inner)
        number += 1
    return _layer_normalized(weights, "normalization", values)


def _heads(weights: Weights, name: str, values: tf.Tensor) -> tf.Tensor:
    """Split the steps (batch, time, units) into heads (batch, heads, time, size)."""
    return tf.einsum("btu,uhk->bhtk", values, weights[f"{name}/kernel"]) + weights[f"{name}/bias"][:, None]


def _steps_dense(weights: Weights, name: str, values: tf.Tensor) -> tf.Tensor:
    return tf.einsum("btu,uv->btv", values, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]


def _layer_normalized(weights: Weights, name: str, values: tf.Tensor) -> tf.Tensor:
    exact = tf.cast(values, tf.float32)
    mean, variance = tf.nn.moments(exact, axes=[-1], keepdims=True)
    gamma, beta = (tf.cast(weights[f"{name}/{part}"], tf.float32) for part in ("gamma", "beta"))
    return tf.cast(tf.nn.batch_normalization(exact, mean, variance, beta, gamma, 1e-5), values.dtype)


def _head(weights: Weights, features: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(features, (-1, weights["dense#0/kernel"].shape[0]))
    return _dense(weights, "logits", tf.nn.relu(_dense(weights, "dense#0", flat)))


def _dense(weights: Weights, name: str, values: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(values, weights[f"{name}/kernel"]), weights[f"{name}/bias"])
