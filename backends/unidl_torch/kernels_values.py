"""Keras operations that read values in Python, in a form that can be traced, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from unidl_torch.graphs import written_by
from unidl_torch.keras_internals import COND, ONE_HOT, SCATTER
from unidl_torch.keras_internals import core as keras_core
from unidl_torch.traced import UntraceableError, is_computed

fused: Any = torch  # PyTorch does not annotate its operations on lists

_cond, _one_hot, _scatter = COND.original, ONE_HOT.original, SCATTER.original


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Keras's conditional. In a trace both branches are computed, provided that neither writes to existing tensors."""
    mode = get_proxy_mode()
    if mode is None or not isinstance(pred, torch.Tensor) or not is_computed(pred):
        return _cond(pred, true_fn, false_fn)
    known = set(mode.tracer.graph.nodes)
    results = [true_fn(), false_fn()]
    made = [node for node in mode.tracer.graph.nodes if node not in known]
    if any(given in known for node in made for given in written_by(node)):
        raise UntraceableError("it updates variables depending on a value")
    if _forms(results[0]) != _forms(results[1]):
        raise UntraceableError("it returns results of different shapes depending on a value")
    return keras.tree.map_structure(lambda one, other: None if one is None else torch.where(pred, one, other), *results)


def _forms(results: Any) -> list[Any]:
    return [None if one is None else (one.shape, one.dtype) for one in keras.tree.flatten(results)]


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Keras's one-hot encoding; PyTorch's own first reads the smallest and largest class."""
    classes = keras_core.convert_to_tensor(x, dtype=torch.long)
    if sparse or axis not in (-1, classes.ndim) or classes.device.type == "meta":
        return _one_hot(x, num_classes, axis, dtype, sparse)
    rows = torch.zeros(*classes.shape, num_classes, dtype=torch.long, device=classes.device)
    known = (classes >= 0).long().unsqueeze(-1)
    rows = rows.scatter(-1, classes.clamp(min=0).unsqueeze(-1), known)
    return keras_core.convert_to_tensor(rows, dtype=dtype)


def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Keras's scatter in one operation, where Keras adds values one at a time. indices: (..., axes)."""
    places, added = (keras_core.convert_to_tensor(given) for given in (indices, values))
    if places.device.type == "meta":
        return _scatter(indices, values, shape)
    axes = places.shape[-1]
    sums = torch.zeros(tuple(shape), dtype=added.dtype, device=added.device)
    rows = added.reshape(-1, *shape[axes:])
    return sums.index_put(tuple(places.reshape(-1, axes).long().unbind(1)), rows, accumulate=True)


class Torch:
    """The module `torch` for Keras's Adadelta, with a learning rate that stays a tensor."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def _foreach_add_(values: Any, others: Any, alpha: Any = 1) -> None:
        if isinstance(alpha, torch.Tensor):
            others, alpha = fused._foreach_mul(others, alpha), 1
        fused._foreach_add_(values, others, alpha=alpha)
