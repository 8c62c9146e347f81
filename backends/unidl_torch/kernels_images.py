"""Image layers with PyTorch's fused kernels: convolution with bias, and batch normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch
from torch.nn import functional

from unidl.kernels import normalizes_plainly
from unidl.sampling import coordinates
from unidl_torch.keras_internals import (
    CONVOLUTION,
    NORMALIZATION,
    SAMPLING,
    TRANSPOSED_INPUTS,
    convolves_plainly,
)

_transpose_spatial_inputs, _convolution_call, _normalization_call, _bilinear = (
    place.original for place in (TRANSPOSED_INPUTS, CONVOLUTION, NORMALIZATION, SAMPLING)
)

PADDINGS = {"reflect": "reflection", "nearest": "border", "constant": "zeros"}
"""What PyTorch calls the fills of `unidl.sampling`, where corners are not aligned."""


def transpose_spatial_inputs(inputs: torch.Tensor, **options: Any) -> torch.Tensor:
    """View channels-last images as channels-first ones. Keras copies them first (keras issue 23279, corrected for
    convolutions after 3.15.1, which then pass `options`); (batch, height, width, channels) in memory is PyTorch's
    own channels-last format."""
    if options or inputs.dtype == torch.float64:
        # Some float64 gradients are only supported in Keras's layout.
        return _transpose_spatial_inputs(inputs, **options)
    if inputs.ndim == 4:
        return inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    if inputs.ndim == 5:
        return inputs.permute(0, 4, 1, 2, 3).contiguous(memory_format=torch.channels_last_3d)
    return _transpose_spatial_inputs(inputs)


def plain_values(inputs: Any, *weights: Any, anywhere: bool = False) -> list[torch.Tensor] | None:
    """Return the values of Keras variables if they and the inputs are supported by the kernels: float32 on the CPU (or
    `anywhere`), without a different precision set in PyTorch; None for anything else, such as a weight that a
    layer computes from others."""
    if not isinstance(inputs, torch.Tensor) or not all(isinstance(weight, keras.Variable) for weight in weights):
        return None
    values: list[Any] = [weight.value for weight in weights]
    for tensor in (inputs, *values):
        if tensor.dtype != torch.float32 or (tensor.device.type != "cpu" and not anywhere):
            return None
    return None if torch.is_autocast_enabled(inputs.device.type) else values


def same_padding(sizes: Sequence[int], windows: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the total padding of padding="same" for each axis."""
    axes = zip(sizes, windows, steps, strict=True)
    return [max((-(-size // step) - 1) * step + window - size, 0) for size, window, step in axes]


def both_sides(amounts: Sequence[int]) -> list[int]:
    """Return it in the form of PyTorch's `pad`: the last axis first, an odd row or column at the end."""
    return [side for amount in reversed(amounts) for side in (amount // 2, amount - amount // 2)]


def convolution_call(self: Any, inputs: torch.Tensor) -> Any:
    """Conv2D.call with the bias in oneDNN's convolution; ReLU in place. inputs: (batch, height, width, channels)."""
    suits = (
        self.rank == 2
        and self.use_bias
        and self.data_format == "channels_last"
        and self.padding in ("valid", "same")
        and convolves_plainly(self)
    )
    # With LoRA the kernel is not a variable but computed from three.
    weights = plain_values(inputs, self.kernel, self.bias) if suits else None
    if weights is None:
        return _convolution_call(self, inputs)
    # Always copy: oneDNN needs a contiguous bias, and a trace may be run with tensors of other strides.
    kernel = weights[0].permute(3, 2, 0, 1).clone(memory_format=torch.channels_last)
    bias = weights[1].clone(memory_format=torch.contiguous_format)
    images = inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    padding = (0, 0)
    if self.padding == "same":
        reach = [step * (side - 1) + 1 for step, side in zip(self.dilation_rate, kernel.shape[2:], strict=True)]
        amounts = same_padding(images.shape[2:], reach, self.strides)
        if any(amount % 2 for amount in amounts):
            images = functional.pad(images, both_sides(amounts))
        else:
            padding = tuple(amount // 2 for amount in amounts)
    relu = self.activation is keras.activations.relu
    groups = images.shape[1] // kernel.shape[1]
    outputs = _Convolution.apply(
        images, kernel, bias, tuple(self.strides), padding, tuple(self.dilation_rate), groups, relu
    )
    outputs = outputs.permute(0, 2, 3, 1)
    return outputs if relu or self.activation is None else self.activation(outputs)


class _Convolution(torch.autograd.Function):
    """Compute relu(convolution(images, kernel) + bias). images: (batch, channels, height, width), channels last in
    memory."""

    @staticmethod
    def forward(
        ctx: Any, images: Any, kernel: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, relu: bool
    ) -> Any:
        outputs = torch.ops.mkldnn._convolution_pointwise(
            images, kernel, bias, padding, stride, dilation, groups, "none", [], ""
        )
        if relu:
            torch.relu_(outputs)  # oneDNN's own would make 0 of NaN, and hide a training that has diverged
        ctx.save_for_backward(images, kernel, outputs if relu else None)
        ctx.geometry = (stride, padding, dilation, groups)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        images, kernel, outputs = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        gradient = gradients[0]
        if outputs is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, outputs, 0)
        mask = list(ctx.needs_input_grad[:3])
        found = torch.ops.aten.convolution_backward(
            gradient, images, kernel, [kernel.shape[0]], stride, padding, dilation, False, (0, 0), groups, mask
        )
        return *found, None, None, None, None, None


def normalization_call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """BatchNormalization.call in one kernel, forward and backward, where Keras uses eight."""
    suits = isinstance(inputs, torch.Tensor) and normalizes_plainly(self, inputs, training, mask)
    values = plain_values(inputs, *_statistics(self), anywhere=True) if suits else None
    if values is None:
        return _normalization_call(self, inputs, training=training, mask=mask)
    last = inputs.ndim - 1
    order = (0, last, *range(1, last))
    channels_first = inputs.permute(order)
    gamma, beta, moving_mean, moving_variance = values
    outputs, mean, inverse = torch.native_batch_norm(channels_first, gamma, beta, None, None, True, 0.0, self.epsilon)
    with torch.no_grad():
        variance = inverse.pow(-2) - self.epsilon
        for moving, value in ((moving_mean, mean), (moving_variance, variance)):
            moving.lerp_(value, 1.0 - self.momentum)
    return outputs.permute(0, *range(2, inputs.ndim), 1)


def _statistics(layer: Any) -> tuple[Any, ...]:
    return layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance


def bilinear(images: Any, matrices: Any, fill: str = "reflect", fill_value: float = 0.0) -> Any:
    """`unidl.sampling.bilinear` by PyTorch's own sampler, which takes places as shares of an image, from -1 to 1."""
    if not isinstance(images, torch.Tensor) or 0 in images.shape:
        return _bilinear(images, matrices, fill, fill_value)
    height, width = images.shape[1:3]
    x, y = coordinates(matrices, height, width)
    places = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    values = images.permute(0, 3, 1, 2).to(places.dtype)
    shifted = fill == "constant" and fill_value != 0
    found = functional.grid_sample(
        values - fill_value if shifted else values, places, padding_mode=PADDINGS[fill], align_corners=False
    )
    found = found.permute(0, 2, 3, 1)
    return found + fill_value if shifted else found
