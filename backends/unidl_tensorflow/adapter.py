"""The TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras
import tensorflow as tf

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
from unidl_tensorflow.loop import TensorFlowLoop
from unidl_tensorflow.replacing import kernels, kernels_off


class TensorFlowBackend:
    """Implements `Backend`, `Trains`, `Distributes`, `Kernels`, `Native`, `Exports` and `Profiles`."""

    name = "tensorflow"
    shares_in_process = False
    divides_evenly = False

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def devices(self) -> Devices:
        cpus = tuple(Device("cpu", index, "CPU") for index in _numbers("CPU"))
        if not tf.test.is_built_with_gpu_support():
            return Devices(cpus, f"tensorflow {tf.__version__} is a CPU-only build")
        return Devices(cpus + tuple(_gpu(index) for index in _numbers("GPU")))

    def on(self, device: Device) -> AbstractContextManager[Any]:
        return keras.device(device.id)

    @contextmanager
    def precision(self, policy: Precision) -> Iterator[None]:
        tf32 = policy.products_in("TensorFlow", {"float32": False, "tf32": True})
        before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(tf32)
        try:
            yield
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(before)

    def synchronise(self, tree: Tree) -> None:
        for leaf in keras.tree.flatten(tree):
            if isinstance(leaf, tf.Tensor | tf.Variable):
                leaf.numpy()

    def memory(self, device: Device, reset: bool = False) -> MemoryUse:
        if device.kind == "cpu":
            return MemoryUse(None, None)
        name = device.id.upper()  # as TensorFlow documents it: "GPU:0"
        if reset:
            tf.config.experimental.reset_memory_stats(name)
        use = tf.config.experimental.get_memory_info(name)
        return MemoryUse(use["current"], use["peak"])

    def compile_loop(self, model: keras.Model, *, device: Device, steps: int | None = None) -> TrainLoop:
        return TensorFlowLoop(model, device, steps)

    def compile_shared_loop(
        self,
        model: keras.Model,
        *,
        devices: Sequence[Device],
        within: Callable[[Share], AbstractContextManager[Any]],
        steps: int | None = None,
    ) -> TrainLoop:
        from unidl_tensorflow.sharing import SharedTensorFlowLoop

        return SharedTensorFlowLoop(model, devices[0], steps, within)

    def kernels(self, device: Device) -> AbstractContextManager[Any]:
        return kernels(device)

    def kernels_off(self, device: Device) -> Sequence[KernelOff]:
        return kernels_off(device)

    def reference(self, task: Task) -> Reference:
        from unidl_tensorflow.native import TensorFlowReference

        return TensorFlowReference(task, task.device)

    def export(self, model: keras.Model, kind: str) -> bytes:
        from unidl_tensorflow.exporting import export

        return export(model, kind)

    def step_bytes(self, model: keras.Model, chunk: Chunk, *, device: Device) -> int | None:
        return None  # on a CPU TensorFlow counts nothing

    def profile_step(self, model: keras.Model, chunk: Chunk, *, device: Device) -> StepProfile:
        from unidl_tensorflow.profiling import ProfiledTensorFlowLoop

        return ProfiledTensorFlowLoop(model, device, 1).profile(chunk)


def _numbers(kind: str) -> range:
    return range(len(tf.config.list_logical_devices(kind)))


def _gpu(index: int) -> Device:
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[index])
    return Device("gpu", index, details.get("device_name", "GPU"), None, details.get("compute_capability"))
