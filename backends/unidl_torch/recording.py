"""Traces as CUDA graphs: all kernels of a step are launched by one call.

To launch a kernel takes the host some microseconds, longer than the small kernels of a step take on the GPU ("CUDA
Graphs", CUDA C++ Programming Guide). A graph repeats them with the same memory: the batch is copied to where that of
the recorded step was, and the step is recorded again if a variable has moved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from unidl_torch.seeds import Seeds, given_generators

WARM_UP = 3
"""Runs of a trace before it is recorded: PyTorch's libraries prepare themselves in the first ones."""

log = logging.getLogger("unidl")


class Recording:
    """A trace on a GPU, which is recorded after a few runs.

    Args:
        module: The trace, called with the values of the variables and the tensors of a batch.
        count: The number of variables.
        version: Returns a number that changes when the trace holds other tensors than before.
    """

    def __init__(self, module: torch.fx.GraphModule, count: int, version: Callable[[], int]) -> None:
        self._module = module
        self._version = version
        self._runs = 0
        self._key: Any = None
        self._graph: Any = None
        self._inputs: list[torch.Tensor] = []
        self._outputs: list[torch.Tensor] = []
        self._generators: list[torch.Generator] = []
        self._seeds = Seeds(module, count)
        self.why_not = self._seeds.why_not or _why_not(module.graph)

    def bind(self, values: Sequence[torch.Tensor]) -> None:
        """Look up where the variables are, and the states of their generators of seeds."""
        key = (self._version(), *(value.data_ptr() for value in values))
        if key != self._key:
            self._key, self._graph = key, None
        elif self._graph is not None:
            self._seeds.read(values)

    def __call__(self, values: list[torch.Tensor], leaves: list[torch.Tensor]) -> list[torch.Tensor]:
        """Run the trace and return its results."""
        self._runs += 1
        if self._graph is None and self._runs > WARM_UP and self.why_not is None:
            self._record(values, leaves)
        if self._graph is None:
            return self._module.forward(values, leaves)
        for kept, leaf in zip(self._inputs, leaves, strict=True):
            kept.copy_(leaf)
        for generator, seed in zip(self._generators, self._seeds.next(), strict=True):
            generator.manual_seed(seed)
        self._graph.replay()
        # Copies, since the next run writes to the same memory.
        return [output.clone() for output in self._outputs]

    def _record(self, values: list[torch.Tensor], leaves: list[torch.Tensor]) -> None:
        self._inputs = [leaf.clone() for leaf in leaves]
        graph: Any = torch.cuda.CUDAGraph()
        self._generators = [torch.Generator(device=leaves[0].device) for _ in range(self._seeds.count)]
        for generator in self._generators:
            graph.register_generator_state(generator)
        self._seeds.read(values)
        try:
            # Other threads may use the GPU meanwhile, such as those that read data.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"), given_generators(self._generators):
                self._outputs = list(self._module.forward(values, self._inputs) or [])
        except RuntimeError as error:
            self.why_not = str(error).strip().splitlines()[0]
            log.info("the kernels of a step are launched one by one: it cannot be recorded: %s", self.why_not)
            return
        self._graph = graph


def _why_not(graph: torch.fx.Graph) -> str | None:
    """Return why a trace cannot be recorded; None if there is no known reason."""
    for node in graph.nodes:
        tags = getattr(node.target, "tags", ())
        if torch.Tag.dynamic_output_shape in tags or torch.Tag.data_dependent_output in tags:
            return f"{node.target} waits for values of the GPU"
        if getattr(node.target, "namespace", None) == "_c10d_functional":
            return "several processes share its batches"
    return None
