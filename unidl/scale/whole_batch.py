"""What makes the step of a share of a batch the step of the whole batch: sums over all devices in five functions of
Keras, for one model, while its loop traces or computes.

Each is replaced on the objects of this model alone, and only inside the context, so that other models and threads
compute as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

from unidl.backend import Share
from unidl.errors import ModelError
from unidl.keras_internals import MOMENTS, all_layers, loss_means, normalized_axes, tensor_attribute
from unidl.layers.draws import drawing_for

ops: Any = keras.ops  # whose annotations allow for results that are no tensors


KNOWN = ("keras.", "unidl.")
"""Modules whose layers add no losses, apart from the regularizers that are looked for before training."""


class WholeBatch:
    """Makes the context in which a model computes a share of a batch as if it saw the whole batch."""

    def __init__(self, model: keras.Model) -> None:
        self._model: Any = model
        base: Any = keras.layers.BatchNormalization
        self._normalizing = [layer for layer in all_layers(model) if isinstance(layer, base)]
        self._own = [layer for layer in all_layers(model) if not type(layer).__module__.startswith(KNOWN)]

    @contextmanager
    def __call__(self, share: Share) -> Generator[None]:
        """Inside it, gradients, statistics, losses, metrics and draws are those of the whole batch."""
        replaced = [*self._of_optimizer(share), (self._model, "compute_metrics", self._metrics(share))]
        replaced += [(mean, "update_state", _mean(mean, share)) for mean in loss_means(self._model)]
        replaced += [(layer, MOMENTS, _moments(layer, share)) for layer in self._normalizing]
        replaced += [(layer, "add_loss", _refused(layer)) for layer in self._own]
        for owner, name, function in replaced:
            vars(owner)[name] = function
        try:
            with drawing_for(share):
                yield
        finally:
            for owner, name, _ in replaced:
                del vars(owner)[name]

    def _of_optimizer(self, share: Share) -> list[tuple[Any, str, Callable[..., Any]]]:
        """The loss counts by its rows, and gradients are summed before anything looks at them, such as clipping."""
        optimizer = getattr(self._model, "optimizer", None)
        if optimizer is None:
            return []
        scale, apply, stateless = optimizer.scale_loss, optimizer.apply, optimizer.stateless_apply
        summed = False

        def scale_loss(loss: Any) -> Any:
            return scale(loss * (share.rows / share.total))

        def apply_sum(grads: Any, trainable_variables: Any = None) -> Any:
            return apply(grads if summed else _sums(grads, share), trainable_variables)

        def stateless_apply_sum(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            nonlocal summed
            total, summed = _sums(grads, share), True
            try:
                return stateless(optimizer_variables, total, trainable_variables)
            finally:
                summed = False

        return [
            (optimizer, "scale_loss", scale_loss),
            (optimizer, "apply", apply_sum),
            (optimizer, "stateless_apply", stateless_apply_sum),
        ]

    def _metrics(self, share: Share) -> Callable[..., Any]:
        compute = self._model.compute_metrics

        def gathered(part: Any) -> Any:
            if part is None:
                return None
            if tensor_attribute(part, "_keras_mask") is not None:
                raise ModelError(
                    "Cannot train over several devices: an output has a mask, and the loss is then a mean over the "
                    "steps that it keeps, of which every device has another number. Train on one device, or give "
                    "weights of rows in place of the mask."
                )
            return share.gather(part)

        def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            y, y_pred, weight = (keras.tree.map_structure(gathered, part) for part in (y, y_pred, sample_weight))
            return compute(x, y, y_pred, weight)

        return compute_metrics


def _refused(layer: Any) -> Callable[..., Any]:
    def add_loss(loss: Any) -> None:
        raise ModelError(
            f"Cannot train over several devices: the layer '{layer.name}' adds a loss, which may be a sum over the "
            "rows of its device. Train on one device, or make it part of the loss of the model."
        )

    return add_loss


def _sums(gradients: Any, share: Share) -> list[Any]:
    """The sums of those gradients that are there."""
    found = [ops.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
    sums = iter(share.sum(found))
    return [None if gradient is None else next(sums) for gradient in gradients]


def _mean(metric: Any, share: Share) -> Callable[..., Any]:
    """A mean of losses that takes the loss of the whole batch."""
    update = metric.update_state

    def update_state(values: Any, sample_weight: Any = None) -> Any:
        value = ops.cast(ops.convert_to_tensor(values), metric.dtype) * (share.rows / share.total)
        return update(share.sum([value])[0], sample_weight=share.total)

    return update_state


def _moments(layer: Any, share: Share) -> Callable[..., Any]:
    """Mean and variance of the whole batch, per channel, both in two passes: a difference of squares loses digits."""

    def moments(inputs: Any, mask: Any) -> tuple[Any, Any]:
        if mask is not None:
            raise ModelError(
                f"Cannot train over several devices: the layer '{layer.name}' normalizes only the steps that a mask "
                "keeps. Train on one device, or put the normalization before the layer that makes the mask."
            )
        axes = normalized_axes(layer)
        count = share.total * math.prod(inputs.shape[axis] for axis in axes if axis != 0)
        mean = share.sum([ops.sum(inputs, axis=axes, keepdims=True)])[0] / count
        variance = share.sum([ops.sum(ops.square(inputs - mean), axis=axes, keepdims=True)])[0] / count
        return ops.squeeze(mean, axis=axes), ops.squeeze(variance, axis=axes)

    return moments
