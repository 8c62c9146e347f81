"""The seeds of a trace's draws, computed on the CPU: PyTorch's generators take Python numbers, for which a GPU would
have to be waited for at each draw."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from unidl_torch.graphs import written_by

_given: ContextVar[list[torch.Generator] | None] = ContextVar("_given", default=None)
"""The generators of the next draws, if these do not seed their own."""


def generator_of(seed: torch.Tensor, device: str) -> torch.Generator:
    """Return PyTorch's generator for a Keras seed, as in its torch_seed_generator: the second half counts the draws."""
    given = _given.get()
    if given is not None:
        return given.pop(0)
    generator = torch.Generator(device=device)
    generator.manual_seed(number_of(seed))
    return generator


def number_of(seed: torch.Tensor) -> int:
    """Return the number with which Keras seeds a generator."""
    return int(seed.sum()) & 0xFFFFFFFF


@contextmanager
def given_generators(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Draw with these, one for each draw, instead of the seeds."""
    token = _given.set(list(generators))
    try:
        yield
    finally:
        _given.reset(token)


class Seeds:
    """The part of a trace that computes seeds from variables, and updates these.

    Args:
        module: The trace.
        count: The number of its leading inputs that are variables.
    """

    def __init__(self, module: torch.fx.GraphModule, count: int) -> None:
        graph = module.graph
        draws = [node.args[0] for node in graph.nodes if _draws(node)]
        needed = _needed(graph, [seed for seed in draws if isinstance(seed, torch.fx.Node)])
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        self.count = len(draws)
        self.why_not: str | None = None
        """Why the seeds cannot be computed on their own."""
        if any(node in needed for node in inputs[count:]):
            self.why_not = "the seed of a draw depends on the batch"
        if any(
            _draws(node) or torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in needed
        ):
            self.why_not = "the seed of a draw is drawn itself"
        self._places = [place for place, node in enumerate(inputs[:count]) if node in needed]
        self._states: list[torch.Tensor] = []
        if self.why_not is None:
            self._module = _alone(module, needed, [inputs[place] for place in self._places], draws)

    def read(self, values: Sequence[torch.Tensor]) -> None:
        """Copy the variables that the seeds depend on, for which the device is waited for."""
        self._states = [values[place].to("cpu", copy=True) for place in self._places]

    def next(self) -> list[int]:
        """Return the seeds of one step, in the order of its draws."""
        return [number_of(seed) for seed in self._module.forward(*self._states)] if self.count else []


def _draws(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.startswith("unidl::") and schema.arguments[0].name == "seed"


def _needed(graph: torch.fx.Graph, seeds: Sequence[torch.fx.Node]) -> set[torch.fx.Node]:
    """Return the nodes that the seeds depend on, with those that write to the memory of one."""
    needed: set[torch.fx.Node] = set()
    waiting = list(seeds)
    while waiting:
        node = waiting.pop()
        if node in needed:
            continue
        needed.add(node)
        waiting += node.all_input_nodes
        waiting += [user for user in node.users if node in written_by(user)]
    return needed


def _alone(module: torch.fx.GraphModule, needed: set[Any], inputs: Sequence[Any], draws: Sequence[Any]) -> Any:
    """Return these nodes as a module on the CPU."""
    graph = torch.fx.Graph()
    copies: dict[Any, Any] = {node: graph.placeholder(node.name) for node in inputs}
    constants: dict[str, torch.Tensor] = {}
    for node in module.graph.nodes:
        if node not in needed or node in copies:
            continue
        if node.op == "get_attr":
            constants[node.target] = operator.attrgetter(node.target)(module).cpu()
        copies[node] = graph.node_copy(node, lambda given: copies[given])
        copies[node].kwargs = {name: _on_cpu(value) for name, value in copies[node].kwargs.items()}
    graph.output([copies[seed] for seed in draws])
    return torch.fx.GraphModule(constants, graph)


def _on_cpu(value: Any) -> Any:
    return torch.device("cpu") if isinstance(value, torch.device) else value
