"""Hand-written references for `unidl compare`: the same models and their training in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from unidl.backend import Task
from unidl.errors import BackendError

Weights = Mapping[str, np.ndarray[Any, Any]]


class TorchReference:
    """Implements `Reference`: data on the device, fused Adam, autocast for bfloat16."""

    def __init__(self, task: Task, device: torch.device) -> None:
        if task.model not in MODULES:
            raise BackendError(f"There is no reference for '{task.model}' in PyTorch. Available: {', '.join(MODULES)}.")
        self._device = device
        self._dtype = task.precision.dtype_in("PyTorch", {"float32": torch.float32, "bfloat16": torch.bfloat16})
        # Channels last is the faster layout for convolutions, on the CPU and with Tensor Cores.
        module: Any = MODULES[task.model](task.weights)
        self._module = module.to(device, memory_format=torch.channels_last)
        self._x, self._y = self._inputs(task.data.x), torch.from_numpy(task.data.y).long().to(device)
        learning = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(learning, lr=task.learning_rate, eps=1e-7, fused=True)
        self._step: Callable[..., Any] = self._module
        if device.type == "cuda":
            # Compilation pays off on a GPU, where launching small kernels costs more than running them.
            self._step = torch.compile(self._module)

    def train(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        self._module.train()
        loss = torch.zeros(())
        for batch in torch.from_numpy(rows).to(self._device):
            with self._autocast():
                logits = self._step(self._x[batch])
            loss = functional.cross_entropy(logits.float(), self._y[batch])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return loss.item()

    def predict(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self._module.eval()
        with torch.inference_mode(), self._autocast():
            logits = self._step(self._inputs(x))
        return logits.float().softmax(dim=-1).cpu().numpy()

    def _inputs(self, x: np.ndarray[Any, Any]) -> torch.Tensor:
        """Return tokens unchanged, and images as a channels-last tensor (batch, channels, height, width)."""
        tensor = torch.from_numpy(x).to(self._device)
        return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._dtype)


class Cnn(nn.Module):
    """Three convolutions with pooling in between, a hidden layer, logits."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_convolution(weights, f"conv_{number}", padding=0) for number in (1, 2, 3))
        self.dense = _linear_after_flatten(weights, "dense#0", weights["conv_3/bias"].size)
        self.logits = _linear(weights, "logits")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one, two, three = self.convolutions
        values = functional.max_pool2d(functional.relu(one(images)), 2)
        values = functional.max_pool2d(functional.relu(two(values)), 2)
        values = functional.relu(three(values)).flatten(1)
        return self.logits(functional.relu(self.dense(values)))


class Recurrent(nn.Module):
    """An embedding, PyTorch's own LSTM or GRU, logits after the last step."""

    def __init__(self, weights: Weights, cell: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(_tensor(weights["embedding#0/embeddings"]), freeze=False)
        path = f"{cell}#0/{cell}_cell#0"
        kernel, recurrent = weights[f"{path}/kernel"], weights[f"{path}/recurrent_kernel"]
        self.recurrent: Any = (nn.LSTM if cell == "lstm" else nn.GRU)(len(kernel), len(recurrent), batch_first=True)
        # Keras's gates i, f, c, o are PyTorch's i, f, g, o; z, r, h correspond to r, z, n in another order.
        order = [0, 1, 2, 3] if cell == "lstm" else [1, 0, 2]
        bias = np.atleast_2d(weights[f"{path}/bias"])
        hidden = bias[1] if len(bias) > 1 else np.zeros_like(bias[0])
        values = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, "bias_ih_l0": bias[0], "bias_hh_l0": hidden}
        for name, value in values.items():
            gates = np.split(value, len(order))
            getattr(self.recurrent, name).data = _tensor(np.concatenate([gates[gate] for gate in order]))
        # A second trainable bias of an LSTM would double the step of the first one.
        self.recurrent.bias_hh_l0.requires_grad = cell == "gru"
        self.logits = _linear(weights, "logits")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps, _ = self.recurrent(self.embedding(tokens))
        return self.logits(steps[:, -1])


class ResNet(nn.Module):
    """ResNet-20 (He et al. 2015)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.stem = Normalised(weights, "stem")
        names = [f"stage_{stage}_block_{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]
        self.blocks = nn.Sequential(*(Residual(weights, name) for name in names))
        self.logits = _linear(weights, "logits")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.blocks(functional.relu(self.stem(images)))
        return self.logits(values.mean(dim=(2, 3)))


class Residual(nn.Module):
    """Two convolutions with a shortcut, which is projected if the block downsamples the image."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        smaller = f"{name}_projection/kernel" in weights
        self.one = Normalised(weights, f"{name}_1", stride=2 if smaller else 1)
        self.two = Normalised(weights, f"{name}_2")
        self.shortcut = Normalised(weights, f"{name}_projection", stride=2) if smaller else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.two(functional.relu(self.one(values))) + self.shortcut(values))


class Normalised(nn.Module):
    """A convolution and its batch normalization, with Keras's momentum and epsilon."""

    def __init__(self, weights: Weights, name: str, stride: int = 1) -> None:
        super().__init__()
        size = len(weights[f"{name}/kernel"])
        # With stride 2 Keras pads an even image only at its end, which PyTorch's padding cannot express.
        self.pad = (0, 1, 0, 1) if stride == 2 and size == 3 else None
        self.convolution = _convolution(weights, name, padding=0 if self.pad else size // 2, stride=stride)
        gamma = weights[f"{name}_normalization/gamma"]
        self.normalization = nn.BatchNorm2d(len(gamma), eps=1e-3, momentum=0.01)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.pad:
            values = functional.pad(values, self.pad)
        return self.normalization(self.convolution(values))


class Transfer(nn.Module):
    """VGG16 without its classifier, frozen, and a new head."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.base = nn.Sequential()
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for number in range(1, count + 1):
                self.base.append(_convolution(weights, f"vgg16/block{block}_conv{number}", padding=1))
                self.base.append(nn.ReLU(inplace=True))
            self.base.append(nn.MaxPool2d(2))
        self.base.requires_grad_(False)
        self.dense = _linear_after_flatten(weights, "dense#0", 512)
        self.logits = _linear(weights, "logits")
        mean = torch.tensor([103.939, 116.779, 123.68])  # of ImageNet, blue first: keras.applications.imagenet_utils
        self.mean: torch.Tensor
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            values = images.flip(1) * 255 - self.mean
            features = self.base(values.contiguous(memory_format=torch.channels_last)).flatten(1)
        return self.logits(functional.relu(self.dense(features)))


class Block(nn.Module):
    """Attention and a feedforward network, each pre-normalized with a residual connection."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        parts = [f"{name}_attention/{part}" for part in ("query", "key", "value")]
        units, self.heads, _ = weights[f"{parts[0]}/kernel"].shape
        # One product for all three, as usual.
        kernel = np.concatenate([weights[f"{part}/kernel"].reshape(units, units) for part in parts], axis=1)
        bias = np.concatenate([weights[f"{part}/bias"].reshape(units) for part in parts])
        self.inward = _linear_of(kernel, bias)
        outward = weights[f"{name}_attention/attention_output/kernel"].reshape(units, units)
        self.outward = _linear_of(outward, weights[f"{name}_attention/attention_output/bias"])
        self.expansion = _linear(weights, f"{name}_expansion")
        self.contraction = _linear(weights, f"{name}_contraction")
        self.before_attention = _layer_normalization(weights, f"{name}_attention_normalization")
        self.before_feedforward = _layer_normalization(weights, f"{name}_feedforward_normalization")

    def forward(self, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        inner = self.inward(self.before_attention(values)).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in inner.unbind(2))
        seen = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)
        values = values + self.outward(seen.transpose(1, 2).flatten(2))
        return values + self.contraction(functional.gelu(self.expansion(self.before_feedforward(values))))


class Transformer(nn.Module):
    """Pre-norm blocks: causal, with logits after the last step; or ignoring padding, with logits of the average."""

    def __init__(self, weights: Weights, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.embedding = nn.Embedding.from_pretrained(_tensor(weights["embedding#0/embeddings"]), freeze=False)
        self.positions = nn.Parameter(_tensor(weights["positions/embeddings"]))
        count = sum(name.endswith("_expansion/kernel") for name in weights)
        self.blocks = nn.ModuleList(Block(weights, f"block_{number}") for number in range(1, count + 1))
        self.normalization = _layer_normalization(weights, "normalization")
        self.logits = _linear(weights, "logits")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        real = tokens != 0
        mask = None if self.causal else real[:, None, None, :]
        values = self.embedding(tokens) + self.positions
        for block in self.blocks:
            values = block(values, mask)
        values = self.normalization(values)
        if self.causal:
            return self.logits(values[:, -1])
        counted = real[..., None].float()
        return self.logits((values.float() * counted).sum(1) / counted.sum(1).clamp(min=1.0))


MODULES: dict[str, Callable[[Weights], nn.Module]] = {
    "cnn": Cnn,
    "lstm": lambda weights: Recurrent(weights, "lstm"),
    "gru": lambda weights: Recurrent(weights, "gru"),
    "resnet": ResNet,
    "transfer": Transfer,
    "transformer": lambda weights: Transformer(weights, causal=True),
    "text-classifier": lambda weights: Transformer(weights, causal=False),
}


def _convolution(weights: Weights, name: str, *, padding: int, stride: int = 1) -> nn.Conv2d:
    kernel = weights[f"{name}/kernel"].transpose(3, 2, 0, 1)
    bias = weights.get(f"{name}/bias")
    layer: Any = nn.Conv2d(
        kernel.shape[1], kernel.shape[0], kernel.shape[2:], stride, padding=padding, bias=bias is not None
    )
    layer.weight.data = _tensor(kernel)
    if bias is not None:
        layer.bias.data = _tensor(bias)
    return layer


def _linear(weights: Weights, name: str) -> nn.Linear:
    return _linear_of(weights[f"{name}/kernel"], weights[f"{name}/bias"])


def _linear_of(kernel: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> nn.Linear:
    layer = nn.Linear(*kernel.shape)
    layer.weight.data, layer.bias.data = _tensor(kernel.T), _tensor(bias)
    return layer


def _layer_normalization(weights: Weights, name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(len(weights[f"{name}/gamma"]), eps=1e-5)
    layer.weight.data, layer.bias.data = _tensor(weights[f"{name}/gamma"]), _tensor(weights[f"{name}/beta"])
    return layer


def _linear_after_flatten(weights: Weights, name: str, channels: int) -> nn.Linear:
    """A linear layer with inputs reordered from Keras's channels-last to PyTorch's channels-first order."""
    layer = _linear(weights, name)
    places = layer.in_features // channels
    by_channel = layer.weight.data.reshape(-1, places, channels).transpose(1, 2)
    layer.weight.data = by_channel.reshape(layer.out_features, -1).contiguous()
    return layer


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))
