"""The JAX backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import Any

import jax
import jaxlib.version
import keras

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
from unidl_jax.loop import JaxLoop
from unidl_jax.replacing import kernels, kernels_off


class JaxBackend:
    """Implements `Backend`, `Trains`, `Distributes`, `Kernels`, `Native`, `Exports` and `Profiles`."""

    name = "jax"
    shares_in_process = True
    divides_evenly = True

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__, "keras": keras.__version__}

    def devices(self) -> Devices:
        # The ids of JAX count the devices of all processes.
        cpus = tuple(Device("cpu", index, "CPU") for index, _ in enumerate(_local("cpu")))
        if jax.default_backend() == "gpu":
            return Devices(cpus + tuple(_gpu(index, device) for index, device in enumerate(_local("gpu"))))
        if not metadata.entry_points(group="jax_plugins"):
            return Devices(
                cpus,
                f"jax {jax.__version__} is a CPU-only build (for CUDA: pip install 'unidl[jax-cuda]')",
            )
        return Devices(cpus)

    def on(self, device: Device) -> AbstractContextManager[Any]:
        return keras.device(device.id) if jax.process_count() == 1 else keras.device(self.native(device))

    def precision(self, policy: Precision) -> AbstractContextManager[Any]:
        # JAX defaults to TF32 on GPUs that support it, for convolutions as well.
        products = policy.products_in("JAX", {"float32": "highest", "tf32": "tensorfloat32"})
        if policy.tf32 and policy.compute_dtype != "float32":
            return nullcontext()  # the default, since the setting also affects products of shorter dtypes
        return jax.default_matmul_precision(products)

    def synchronise(self, tree: Tree) -> None:
        jax.block_until_ready(tree)

    def memory(self, device: Device, reset: bool = False) -> MemoryUse:
        statistics = self.native(device).memory_stats() or {}  # JAX cannot reset its peak
        return MemoryUse(statistics.get("bytes_in_use"), statistics.get("peak_bytes_in_use"))

    def compile_loop(self, model: keras.Model, *, device: Device, steps: int | None = None) -> TrainLoop:
        return JaxLoop(model, self.native(device), steps)

    def compile_shared_loop(
        self,
        model: keras.Model,
        *,
        devices: Sequence[Device],
        within: Callable[[Share], AbstractContextManager[Any]],
        steps: int | None = None,
    ) -> TrainLoop:
        from unidl_jax.sharing import SharedJaxLoop

        own = [self.native(device) for device in devices]
        return SharedJaxLoop(model, _of_each_process(devices), own, steps, within)

    def kernels(self, device: Device) -> AbstractContextManager[Any]:
        return kernels(self.native(device))

    def kernels_off(self, device: Device) -> Sequence[KernelOff]:
        return kernels_off(self.native(device))

    def reference(self, task: Task) -> Reference:
        from unidl_jax.native import JaxReference

        return JaxReference(task, self.native(task.device))

    def export(self, model: keras.Model, kind: str) -> bytes:
        from unidl_jax.exporting import export

        return export(model, kind)

    def step_bytes(self, model: keras.Model, chunk: Chunk, *, device: Device) -> int | None:
        from unidl_jax.profiling import ProfiledJaxLoop

        return ProfiledJaxLoop(model, self.native(device), 1).step_bytes(chunk)

    def profile_step(self, model: keras.Model, chunk: Chunk, *, device: Device) -> StepProfile:
        from unidl_jax.profiling import ProfiledJaxLoop

        return ProfiledJaxLoop(model, self.native(device), 1).profile(chunk)

    @staticmethod
    def native(device: Device) -> Any:
        """Return JAX's object for a unidl device."""
        return _local(device.kind)[device.index]


def _local(kind: str) -> list[Any]:
    """The devices of this process."""
    return jax.local_devices(backend=kind)


def _of_each_process(devices: Sequence[Device]) -> list[Any]:
    """The devices of these numbers of each process, in the order of the processes."""
    found: dict[int, list[Any]] = {}
    for one in jax.devices(devices[0].kind):
        found.setdefault(one.process_index, []).append(one)
    return [found[process][device.index] for process in sorted(found) for device in devices]


def _gpu(index: int, device: Any) -> Device:
    statistics = device.memory_stats() or {}
    # An AMD GPU reports "gfx90a" here.
    capability = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
    return Device(
        "gpu",
        index,
        device.device_kind,
        statistics.get("bytes_limit"),
        (int(capability[1]), int(capability[2])) if capability else None,
    )
