"""The JAX backend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import Any

import jax
import jaxlib.version
import keras

from unidl.backend import Device, Devices, KernelOff, MemoryUse, Precision, Reference, Task, TrainLoop, Tree
from unidl_jax.loop import JaxLoop
from unidl_jax.replacing import kernels, kernels_off


class JaxBackend:
    """Implements `Backend`, `Trains`, `Kernels`, `Native` and `Exports`."""

    name = "jax"

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__, "keras": keras.__version__}

    def devices(self) -> Devices:
        cpus = tuple(Device("cpu", device.id, "CPU") for device in jax.devices("cpu"))
        if jax.default_backend() == "gpu":
            return Devices(cpus + tuple(_gpu(device) for device in jax.devices("gpu")))
        if not metadata.entry_points(group="jax_plugins"):
            return Devices(
                cpus,
                f"jax {jax.__version__} is a CPU-only build (for CUDA: pip install 'unidl[jax-cuda]')",
            )
        return Devices(cpus)

    def on(self, device: Device) -> AbstractContextManager[Any]:
        return keras.device(device.id)

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

    @staticmethod
    def native(device: Device) -> Any:
        """Return JAX's object for a unidl device."""
        return jax.devices(device.kind)[device.index]


def _gpu(device: Any) -> Device:
    statistics = device.memory_stats() or {}
    # An AMD GPU reports "gfx90a" here.
    capability = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
    return Device(
        "gpu",
        device.id,
        device.device_kind,
        statistics.get("bytes_limit"),
        (int(capability[1]), int(capability[2])) if capability else None,
    )
