"""Hand-written references for `unidl compare`: the same models and their training in plain JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unidl.backend import Task
from unidl.errors import BackendError

Weights = dict[str, jax.Array]
Logits = Callable[[Weights, Weights, jax.Array, bool], tuple[jax.Array, Weights]]
"""Trainable weights, other weights, inputs (batch, ...), training flag -> logits (batch, classes), and updates
of the other weights."""

LAYOUT = ("NHWC", "HWIO", "NHWC")


class JaxReference:
    """Implements `Reference`: state donated to a jitted function; on a GPU `lax.scan` over the steps."""

    def __init__(self, task: Task, device: Any) -> None:
        if task.model not in MODELS:
            raise BackendError(f"There is no reference for '{task.model}' in JAX. Available: {', '.join(MODELS)}.")
        self._device = device
        self._logits, frozen = MODELS[task.model]
        self._rate = task.learning_rate
        self._dtype = task.precision.dtype_in("JAX", {"float32": jnp.float32, "bfloat16": jnp.bfloat16})
        weights = {name: np.asarray(value) for name, value in task.weights.items()}
        fixed = (*frozen, *(name for name in weights if name.endswith(("moving_mean", "moving_variance"))))
        learning = {name: value for name, value in weights.items() if not name.startswith(fixed)}
        others = {name: value for name, value in weights.items() if name not in learning}
        zeros = {name: np.zeros_like(value) for name, value in learning.items()}
        first, second = zeros, {name: value.copy() for name, value in zeros.items()}
        self._state = jax.device_put((learning, first, second, others, np.zeros((), np.int32)), device)
        self._data = jax.device_put((task.data.x, task.data.y), device)
        # On the CPU a convolution inside a loop misses XLA's fast path (jax issue 12868).
        self._scans = device.platform == "gpu" or all(value.ndim < 4 for value in weights.values())
        self._train_one = jax.jit(self._step, donate_argnums=0)
        self._train_many = jax.jit(self._steps, donate_argnums=0)
        self._probabilities = jax.jit(self._predict)

    def train(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        loss: Any = 0.0
        if self._scans:
            self._state, loss = self._train_many(self._state, self._data, rows.astype(np.int32))
        else:
            for batch in rows.astype(np.int32):
                self._state, loss = self._train_one(self._state, self._data, batch)
        return float(loss)

    def predict(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        learning, _, _, others, _ = self._state
        return np.asarray(self._probabilities(learning, others, jax.device_put(x, self._device)))

    def _steps(self, state: Any, data: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        state, losses = jax.lax.scan(lambda carried, batch: self._step(carried, data, batch), state, rows)
        return state, losses[-1]

    def _step(self, state: Any, data: Any, batch: jax.Array) -> tuple[Any, jax.Array]:
        learning, first, second, others, count = state
        x, y = data[0][batch], data[1][batch]
        compute_loss = jax.value_and_grad(self._loss, has_aux=True)
        (loss, changed), gradients = compute_loss(learning, others, x, y)
        count = count + 1
        power = count.astype(jnp.float32)
        rate = self._rate * jnp.sqrt(1 - 0.999**power) / (1 - 0.9**power)
        first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradients)
        second = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), second, gradients)
        learning = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), learning, first, second)
        return (learning, first, second, others | changed, count), loss

    def _loss(self, learning: Weights, others: Weights, x: jax.Array, y: jax.Array) -> tuple[jax.Array, Weights]:
        logits, changed = self._logits(self._cast(learning), others, self._cast(x), True)
        chances = jax.nn.log_softmax(logits.astype(jnp.float32))
        return -jnp.take_along_axis(chances, y[:, None], axis=1).mean(), changed

    def _predict(self, learning: Weights, others: Weights, x: jax.Array) -> jax.Array:
        logits, _ = self._logits(self._cast(learning), others, self._cast(x), False)
        return jax.nn.softmax(logits.astype(jnp.float32))

    def _cast(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(self._dtype) if leaf.dtype == jnp.float32 else leaf, tree)


def cnn(weights: Weights, others: Weights, images: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """Three convolutions with pooling in between, a hidden layer, logits."""
    values = _pool(jax.nn.relu(_convolution(weights, "conv_1", images)))
    values = _pool(jax.nn.relu(_convolution(weights, "conv_2", values)))
    values = jax.nn.relu(_convolution(weights, "conv_3", values))
    return _head(weights, values.reshape(len(values), -1)), {}


def lstm(weights: Weights, others: Weights, tokens: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """An embedding, an LSTM, logits after the last step. Gates: input, forget, candidate, output."""
    kernel, recurrent, bias = _recurrent(weights, "lstm")

    def step(carried: Any, inputs: jax.Array) -> tuple[Any, None]:
        hidden, cell = carried
        gates = inputs + hidden @ recurrent
        enter, forget, candidate, leave = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        return (jax.nn.sigmoid(leave) * jnp.tanh(cell), cell), None

    inputs = weights["embedding#0/embeddings"][tokens.T] @ kernel + bias
    zeros = jnp.zeros((len(tokens), len(recurrent)), inputs.dtype)
    (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), inputs)
    return _dense(weights, "logits", hidden), {}


def gru(weights: Weights, others: Weights, tokens: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """An embedding, a GRU, logits after the last step. Gates: update, reset, candidate."""
    kernel, recurrent, bias = _recurrent(weights, "gru")

    def step(hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, None]:
        from_hidden = hidden @ recurrent + bias[1]
        update, reset, candidate = jnp.split(inputs, 3, axis=-1)
        hidden_update, hidden_reset, hidden_candidate = jnp.split(from_hidden, 3, axis=-1)
        update = jax.nn.sigmoid(update + hidden_update)
        candidate = jnp.tanh(candidate + jax.nn.sigmoid(reset + hidden_reset) * hidden_candidate)
        return update * hidden + (1 - update) * candidate, None

    inputs = weights["embedding#0/embeddings"][tokens.T] @ kernel + bias[0]
    hidden, _ = jax.lax.scan(step, jnp.zeros((len(tokens), len(recurrent)), inputs.dtype), inputs)
    return _dense(weights, "logits", hidden), {}


def resnet(weights: Weights, others: Weights, images: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """ResNet-20 (He et al. 2015)."""
    changed: Weights = {}
    normalised = partial(_normalised, weights, others, changed, training)
    values = jax.nn.relu(normalised("stem", images))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            name = f"stage_{stage}_block_{block}"
            smaller = f"{name}_projection/kernel" in weights
            stride = 2 if smaller else 1
            shortcut = normalised(f"{name}_projection", values, stride) if smaller else values
            values = jax.nn.relu(normalised(f"{name}_1", values, stride))
            values = jax.nn.relu(normalised(f"{name}_2", values) + shortcut)
    return _dense(weights, "logits", values.mean(axis=(1, 2))), changed


def transfer(weights: Weights, others: Weights, images: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """VGG16 without its classifier, frozen, and a new head."""
    mean = jnp.array([103.939, 116.779, 123.68])  # of ImageNet, blue first: keras.applications.imagenet_utils
    values = (images[..., ::-1] * 255 - mean).astype(images.dtype)
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, count + 1):
            values = jax.nn.relu(_convolution(others, f"vgg16/block{block}_conv{number}", values, padding="SAME"))
        values = _pool(values)
    return _head(weights, values.reshape(len(values), -1)), {}


def transformer(weights: Weights, others: Weights, tokens: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """Causal pre-norm blocks, logits after the last step."""
    return _dense(weights, "logits", _encoded(weights, tokens, None)[:, -1]), {}


def text_classifier(weights: Weights, others: Weights, tokens: jax.Array, training: bool) -> tuple[jax.Array, Weights]:
    """Pre-norm blocks that ignore padding, logits of the average of the other steps."""
    real = tokens != 0
    steps = _encoded(weights, tokens, real[:, None, None, :]).astype(jnp.float32)
    average = (steps * real[..., None]).sum(axis=1) / jnp.maximum(real.sum(axis=1, keepdims=True), 1)
    return _dense(weights, "logits", average.astype(weights["logits/kernel"].dtype)), {}


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
    weights: Weights, name: str, values: jax.Array, *, padding: str = "VALID", stride: int = 1
) -> jax.Array:
    kernel = weights[f"{name}/kernel"].astype(values.dtype)
    values = jax.lax.conv_general_dilated(values, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)
    bias = weights.get(f"{name}/bias")
    return values if bias is None else values + bias.astype(values.dtype)


def _normalised(
    weights: Weights,
    others: Weights,
    changed: Weights,
    training: bool,
    name: str,
    values: jax.Array,
    stride: int = 1,
) -> jax.Array:
    """A convolution and its batch normalization, with Keras's momentum and epsilon; records the new statistics."""
    values = _convolution(weights, name, values, padding="SAME", stride=stride)
    exact = values.astype(jnp.float32)
    path = f"{name}_normalization"
    mean, variance = others[f"{path}/moving_mean"], others[f"{path}/moving_variance"]
    if training:
        old = (mean, variance)
        mean, variance = exact.mean(axis=(0, 1, 2)), exact.var(axis=(0, 1, 2))
        changed[f"{path}/moving_mean"] = old[0] + 0.01 * (mean - old[0])
        changed[f"{path}/moving_variance"] = old[1] + 0.01 * (variance - old[1])
    scale = weights[f"{path}/gamma"].astype(jnp.float32) * jax.lax.rsqrt(variance + 1e-3)
    return ((exact - mean) * scale + weights[f"{path}/beta"].astype(jnp.float32)).astype(values.dtype)


def _pool(values: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _recurrent(weights: Weights, cell: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    path = f"{cell}#0/{cell}_cell#0"
    return weights[f"{path}/kernel"], weights[f"{path}/recurrent_kernel"], weights[f"{path}/bias"]


def _encoded(weights: Weights, tokens: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Return the steps (batch, time, units) after all blocks. mask: visible steps; None for a causal mask."""
    values = weights["embedding#0/embeddings"][tokens] + weights["positions/embeddings"]
    number = 1
    while f"block_{number}_expansion/kernel" in weights:
        name = f"block_{number}"
        inner = _layer_normalized(weights, f"{name}_attention_normalization", values)
        query, key, value = (_heads(weights, f"{name}_attention/{part}", inner) for part in ("query", "key", "value"))
        seen = jax.nn.dot_product_attention(query, key, value, mask=mask, is_causal=mask is None)
        kernel, bias = (weights[f"{name}_attention/attention_output/{part}"] for part in ("kernel", "bias"))
        values = values + jnp.einsum("bthk,hku->btu", seen, kernel) + bias
        inner = _layer_normalized(weights, f"{name}_feedforward_normalization", values)
        inner = jax.nn.gelu(_dense(weights, f"{name}_expansion", inner), approximate=False)
        values = values + _dense(weights, f"{name}_contraction", inner)
        number += 1
    return _layer_normalized(weights, "normalization", values)


def _heads(weights: Weights, name: str, values: jax.Array) -> jax.Array:
    return jnp.einsum("btu,uhk->bthk", values, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]


def _layer_normalized(weights: Weights, name: str, values: jax.Array) -> jax.Array:
    exact = values.astype(jnp.float32)
    mean, variance = exact.mean(axis=-1, keepdims=True), exact.var(axis=-1, keepdims=True)
    scale = weights[f"{name}/gamma"].astype(jnp.float32) * jax.lax.rsqrt(variance + 1e-5)
    return ((exact - mean) * scale + weights[f"{name}/beta"].astype(jnp.float32)).astype(values.dtype)


def _head(weights: Weights, features: jax.Array) -> jax.Array:
    return _dense(weights, "logits", jax.nn.relu(_dense(weights, "dense#0", features)))


def _dense(weights: Weights, name: str, values: jax.Array) -> jax.Array:
    return values @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
