"""Optimizations of a trace that reduce its work without changing its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

aten: Any = torch.ops.aten

VIEWS = (aten._unsafe_view.default, aten.unsafe_split.Tensor, aten.unsafe_split_with_sizes.default)
"""Operations whose results share memory with their input although their schemas do not say so."""


def drop_detached(module: torch.fx.GraphModule) -> None:
    """Replace `detach` by its input: unless the trace has captured an outside tensor
    that requires gradients, it has no gradients to stop."""
    captured = [getattr(module, node.target) for node in module.graph.find_nodes(op="get_attr")]
    if any(tensor.requires_grad for tensor in captured):
        return
    for node in module.graph.find_nodes(op="call_function", target=aten.detach.default):
        node.replace_all_uses_with(node.all_input_nodes[0])
        module.graph.erase_node(node)


def pool_before_relu(graph: torch.fx.Graph) -> None:
    """Where gradients pass through max-pooling and then through the ReLU whose outputs it pools, make them pass through
    the ReLU first: only the largest value of each window receives a gradient, so the result is the same, and there are
    fewer windows than values."""
    written = _written(graph)
    node: Any
    for node in list(graph.nodes):
        if node.target is not aten.threshold_backward.default:
            continue
        between, order = _origin(node.args[0])
        pooling = between[-1]
        if pooling.target is not aten.max_pool2d_with_indices_backward.default:
            continue
        gradient, images, *geometry, places = pooling.args
        pooled = [user for user in places.args[0].users if user.args[1] == 0]
        alone = all(len(one.users) == 1 for one in between)
        if not alone or len(pooled) != 1 or pooled[0] in written:
            continue
        (*_, maps), order_in_pooling = _origin(images)
        (*_, outputs), order_in_relu = _origin(node.args[1])
        if maps is not outputs or _permuted(order_in_pooling, order) != order_in_relu:
            continue
        with graph.inserting_before(pooling):
            bent = graph.call_function(node.target, (gradient, pooled[0], node.args[2]))
        pooling.args = (bent, images, *geometry, places)
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)


def _origin(node: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Yield a node and its predecessors back to the one that computed the values, each with the permutation of axes
    relative to it; empty for the identity."""
    passed, order = [node], ()
    while node.target is aten.permute.default:
        axes = node.args[1]
        order = _permuted(tuple(axis % len(axes) for axis in axes), order)
        node = node.all_input_nodes[0]
        passed.append(node)
    return passed, order


def _permuted(first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    """Return the composition of two permutations of axes; empty for the identity."""
    order = tuple(first[axis] for axis in then) if first and then else first or then
    return () if order == tuple(sorted(order)) else order


class Constants:
    """The part of a trace that depends only on constant variables, such as another layout of a frozen kernel, or on
    nothing: it is moved out of the trace and computed only when one of them has changed.

    count: number of leading inputs that are variables.
    """

    def __init__(self, module: torch.fx.GraphModule, count: int) -> None:
        graph = module.graph
        inputs = [node for node in graph.nodes if node.op == "placeholder"][:count]
        written = _written(graph)
        self.written = [place for place, node in enumerate(inputs) if node in written]
        """Return the positions of the variables that are not constant."""
        self._places = [place for place, node in enumerate(inputs) if node not in written]
        before = torch.fx.Graph()
        copies = {inputs[place]: before.placeholder(f"constant_{place}") for place in self._places}
        moved: list[torch.fx.Node] = []
        for node in graph.nodes:
            if node in written or any(given not in copies for given in node.all_input_nodes):
                continue
            if node.op == "get_attr" and all(user.target is aten.lift_fresh_copy.default for user in node.users):
                copies[node] = before.node_copy(node)  # a literal, which nothing else can modify
            elif _is_pure(node):
                copies[node] = before.node_copy(node, lambda given: copies[given])
                moved.append(node)
        edge = [node for node in moved if any(user not in copies for user in node.users)]
        before.output([copies[node] for node in edge])
        self._before = torch.fx.GraphModule(module, before)
        self._module = module
        self._names = [f"beforehand_{number}" for number in range(len(edge))]
        self._seen: list[tuple[int, int]] | None = None
        self.computed = 0
        """How many times it has been computed."""
        for name, node in zip(self._names, edge, strict=True):
            setattr(module, name, torch.empty(0))
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.create_node("get_attr", name))
        graph.eliminate_dead_code()
        module.recompile()

    def update(self, values: Sequence[torch.Tensor]) -> None:
        """Compute it unless the constants are unchanged since the last time: the same memory, not written to."""
        constants = [values[place] for place in self._places]
        seen = [(value.data_ptr(), value._version) for value in constants]
        if seen == self._seen:
            return
        with torch.no_grad():
            for name, result in zip(self._names, self._before.forward(*constants), strict=True):
                setattr(self._module, name, result)
        self._seen = seen
        self.computed += 1


def _written(graph: torch.fx.Graph) -> set[torch.fx.Node]:
    """Return the nodes whose memory some operation writes to, according to PyTorch's schemas of arguments and views."""
    written: set[torch.fx.Node] = set()
    for node in reversed(graph.nodes):
        schema = getattr(node.target, "_schema", None)
        is_view = schema is None or any(result.alias_info is not None for result in schema.returns)
        is_view = is_view or node.target in VIEWS
        if node in written and is_view:
            written.update(node.all_input_nodes)
        written.update(written_by(node))
    return written


def written_by(node: torch.fx.Node) -> list[torch.fx.Node]:
    """Return the inputs that an operation writes to."""
    schema = getattr(node.target, "_schema", None)
    written: list[torch.fx.Node] = []
    for place, argument in enumerate(schema.arguments if schema is not None else ()):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
            torch.fx.map_arg(given, written.append)
    return written


def _is_pure(node: torch.fx.Node) -> bool:
    """Return whether a node is a pure function of its inputs whose result is never written to."""
    return _writes(node) is False and not any(_writes(user) for user in node.users)


def _writes(node: torch.fx.Node) -> bool | None:
    """Return whether an operation writes to one of its inputs; None for other nodes."""
    operation: Any = node.target
    schema = getattr(operation, "_schema", None)
    if node.op != "call_function" or schema is None:
        return None
    return schema.is_mutable or torch.Tag.nondeterministic_seeded in operation.tags
