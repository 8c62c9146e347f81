"""Which layer each operation of a trace belongs to, also in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from unidl_torch.keras_internals import scope

SCOPE = "unidl_scope"
"""The entry of a node's `meta` that holds the names of the layers around it, as in "cnn/conv_1"."""


class Scopes(torch.overrides.TorchFunctionMode):
    """Inside it, operations that are traced get the names of the Keras layers that run them. A gradient gets those of
    the layer whose values it is of: its node of PyTorch's autograd was made there."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, Any] = {}
        self._backward: str | None = None

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self._know(arguments)
        self._name()
        result = function(*arguments, **(options or {}))
        self._name()
        self._backward = None
        self._know(result)
        return result

    def _name(self) -> None:
        """Name the newest nodes of the trace."""
        mode = get_proxy_mode()
        if mode is None:
            return
        now = scope() if self._backward is None else self._backward
        for node in reversed(mode.tracer.graph.nodes):
            if SCOPE in node.meta:
                return
            node.meta[SCOPE] = now

    def _know(self, tree: Any) -> None:
        """Remember where the gradients of new tensors belong."""
        if not torch.is_grad_enabled():
            return  # inside a function with a gradient of its own, or outside of what is learned
        waiting = [tensor.grad_fn for tensor in _tensors(tree) if tensor.grad_fn is not None]
        now = scope()
        while waiting:
            node = waiting.pop()
            if node is None or id(node) in self._known:
                continue
            self._known[id(node)] = node  # kept, so that no other one gets its identity
            node.register_prehook(lambda _, now=now: self._enter(now))
            waiting += [before for before, _ in node.next_functions]

    def _enter(self, now: str) -> None:
        self._name()
        self._backward = now


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from _tensors(one)
