"""The PyTorch backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras
import torch

from unidl.backend import (
    Chunk,
    Device,
    Devices,
    KernelOff,
    MemoryUse,
    Precision,
    Reference,
    Share,
    StepProfile,
    Task,
    TrainLoop,
    Tree,
)
from unidl_torch.loop import TorchLoop
from unidl_torch.replacing import kernels, kernels_off


class TorchBackend:
    """Implements `Backend`, `Trains`, `Distributes`, `Kernels`, `Native`, `Exports` and `Profiles`."""

    name = "torch"
    shares_in_process = False
    divides_evenly = False

    def versions(self) -> dict[str, str]:
        return {"torch": str(torch.__version__), "keras": keras.__version__}

    def devices(self) -> Devices:
        cpu = Device("cpu", 0, "CPU")
        if torch.version.cuda is None and torch.version.hip is None:
            return Devices((cpu,), f"torch {torch.__version__} is a CPU-only build")
        return Devices((cpu, *(_gpu(index) for index in range(torch.cuda.device_count()))))

    def on(self, device: Device) -> AbstractContextManager[Any]:
        # Keras compares device names: with "cpu:0" it would copy every variable of a model that is on "cpu".
        return keras.device("cpu" if device.kind == "cpu" else device.id)

    @contextmanager
    def precision(self, policy: Precision) -> Iterator[None]:
        # By default torch computes matrix products in float32 and convolutions in TF32 on a GPU; and on a CPU with
        # bfloat16 units in bfloat16 after torch.set_float32_matmul_precision("medium"). The older `allow_tf32` settings
        # must not be used together with these: torch raises an error if both are mixed.
        cuda: Any = torch.backends.cuda  # Any: these settings are newer than torch's annotations
        cudnn: Any = torch.backends.cudnn
        mkldnn: Any = torch.backends.mkldnn
        on_gpu = (cuda.matmul, cudnn.conv, cudnn.rnn)
        on_cpu = (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
        switches = (*on_gpu, *on_cpu)
        products = policy.products_in("PyTorch", {"float32": "ieee", "tf32": "tf32"})
        before = [switch.fp32_precision for switch in switches]
        try:
            for switch in on_gpu:
                switch.fp32_precision = products
            for switch in on_cpu:
                switch.fp32_precision = "ieee"
            yield
        finally:
            for switch, value in zip(switches, before, strict=True):
                switch.fp32_precision = value

    def synchronise(self, tree: Tree) -> None:
        for leaf in keras.tree.flatten(tree):
            if isinstance(leaf, torch.Tensor) and leaf.is_cuda:
                torch.cuda.synchronize(leaf.device)

    def memory(self, device: Device, reset: bool = False) -> MemoryUse:
        if device.kind == "cpu":
            return MemoryUse(None, None)
        if reset:
            torch.cuda.reset_peak_memory_stats(device.index)
        return MemoryUse(torch.cuda.memory_allocated(device.index), torch.cuda.max_memory_allocated(device.index))

    def compile_loop(self, model: keras.Model, *, device: Device, steps: int | None = None) -> TrainLoop:
        return TorchLoop(model, self.native(device), steps)

    def compile_shared_loop(
        self,
        model: keras.Model,
        *,
        devices: Sequence[Device],
        within: Callable[[Share], AbstractContextManager[Any]],
        steps: int | None = None,
    ) -> TrainLoop:
        from unidl_torch.sharing import SharedTorchLoop

        return SharedTorchLoop(model, self.native(devices[0]), steps, within)

    def kernels(self, device: Device) -> AbstractContextManager[Any]:
        return kernels()

    def kernels_off(self, device: Device) -> Sequence[KernelOff]:
        return kernels_off()

    def reference(self, task: Task) -> Reference:
        from unidl_torch.native import TorchReference

        return TorchReference(task, self.native(task.device))

    def export(self, model: keras.Model, kind: str) -> bytes:
        from unidl_torch.exporting import export

        return export(model, kind)

    def step_bytes(self, model: keras.Model, chunk: Chunk, *, device: Device) -> int | None:
        from unidl_torch.profiling import ProfiledTorchLoop

        return ProfiledTorchLoop(model, self.native(device), 1).step_bytes(chunk)

    def profile_step(self, model: keras.Model, chunk: Chunk, *, device: Device) -> StepProfile:
        from unidl_torch.profiling import ProfiledTorchLoop

        return ProfiledTorchLoop(model, self.native(device), 1).profile(chunk)

    @staticmethod
    def native(device: Device) -> torch.device:
        """Return PyTorch's object for a unidl device."""
        return torch.device("cpu") if device.kind == "cpu" else torch.device("cuda", device.index)


def _gpu(index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    # An AMD GPU reports numbers with another meaning here.
    capability = (properties.major, properties.minor) if torch.version.hip is None else None
    return Device("gpu", index, properties.name, properties.total_memory, capability)
