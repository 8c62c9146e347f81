"""What a training step on PyTorch takes, operation by operation of its trace: memory, and time as `torch.profiler`
records it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from unidl.backend import Chunk, Operation, StepProfile, Tree
from unidl.errors import BackendError
from unidl.kernels import noticing
from unidl_torch.loop import TorchLoop, is_own
from unidl_torch.replacing import kernels
from unidl_torch.scopes import SCOPE, Scopes
from unidl_torch.traced import Traced, leaves_of, nested, train_step

WARM_STEPS, TIMED_STEPS = 2, 5
"""Steps before any counts, and those whose middle one is the time of a step; the others of a chunk are recorded."""
MARK = "unidl node "


class ProfiledTorchLoop(TorchLoop):
    """A loop whose steps are looked at."""

    def traced(self, chunk: Chunk) -> tuple[Traced, list[Tree]]:
        """Return the trace of a training step, and the batches of a chunk. Raises `BackendError` if there is none."""
        self._prepare(chunk, training=True)
        if self._plain:
            raise BackendError(f"Cannot trace the steps of this model on PyTorch: {self.why_not_compiled}.")
        form, leaves = self._batches(chunk)
        batches = [nested(form, one) for one in leaves]
        model = self._model
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        unique = list({id(variable): variable for variable in variables}.values())

        def compute(batch: Tree) -> None:
            with Scopes():
                train_step(model, batch)

        with noticing(not is_own(model, "compute_loss")), kernels(), self._sharing():
            return Traced(compute, unique, batches[0], gradients=True), batches

    def step_bytes(self, chunk: Chunk) -> int | None:
        """Return the largest memory of the results of operations that are needed at the same time."""
        self._prepare(chunk, training=True)
        if self._plain:
            return None
        traced, batches = self.traced(chunk)
        return traced.run_with(_Counting, batches[0]).peak_bytes

    def profile(self, chunk: Chunk) -> StepProfile:
        """Take the steps of a chunk, first by their trace, then with each of its operations marked."""
        traced, batches = self.traced(chunk)
        traced.bind()
        seconds: list[float] = []
        with torch.set_grad_enabled(True):
            for batch in batches[: WARM_STEPS + TIMED_STEPS]:
                started = time.perf_counter()
                traced(leaves_of(batch))
                self._wait()
                seconds.append(time.perf_counter() - started)
        traced.tell_of_writes()
        recorded = batches[len(seconds) :]
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
            nodes: list[torch.fx.Node] = []
            for batch in recorded:
                nodes = traced.run_with(_Marking, batch).nodes
            self._wait()
        return StepProfile(
            tuple(_operations(profiler, nodes, on_gpu=self._device.type == "cuda")),
            len(recorded),
            statistics.median(seconds[WARM_STEPS:]),
            f"torch.profiler {torch.__version__}",
        )

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class _Counting(torch.fx.Interpreter):
    """Runs a trace, and counts the memory that its operations have made and that later ones still need."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.peak_bytes = 0
        self._given: set[int] = set()

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if n.op in ("placeholder", "get_attr"):
            self._given.update(_storages(result))
            return result
        made = _storages([result, *self.env.values()])
        self.peak_bytes = max(self.peak_bytes, sum(size for place, size in made.items() if place not in self._given))
        return result


class _Marking(torch.fx.Interpreter):
    """Runs a trace, each operation inside a range of the profiler with its number."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.nodes = list(module.graph.nodes)
        self._numbers = {node: number for number, node in enumerate(self.nodes)}

    def run_node(self, n: torch.fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        with torch.profiler.record_function(f"{MARK}{self._numbers[n]}"):
            return super().run_node(n)


def _operations(profiler: Any, nodes: list[torch.fx.Node], *, on_gpu: bool) -> Iterator[Operation]:
    """Yield the marked operations; on a GPU each with the time of its kernels, one after the other."""
    end = 0.0
    for event in profiler.events():
        if not event.name.startswith(MARK) or event.device_type.name != "CPU":
            continue
        node = nodes[int(event.name.removeprefix(MARK))]
        start, seconds = event.time_range.start * 1e-6, event.time_range.elapsed_us() * 1e-6
        if on_gpu:
            start, seconds = end, event.device_time_total * 1e-6
            end = start + seconds
        name = getattr(node.target, "_overloadpacket", node.target)
        yield Operation(
            getattr(name, "__name__", str(name)), node.meta.get(SCOPE, ""), start, start + seconds, "operations"
        )


def _storages(value: Any) -> dict[int, int]:
    """Return the sizes in bytes of the memory of tensors in a nest, by its address."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()} if storage.nbytes() else {}
    found: dict[int, int] = {}
    if isinstance(value, list | tuple):
        for one in value:
            found |= _storages(one)
    return found
