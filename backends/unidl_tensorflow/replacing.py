"""The kernels of this adapter, imported on first use: without them the adapter still loads and trains."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from unidl.backend import Device, KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_tensorflow.kernels"


_xla = ContextVar("_xla", default=False)


@contextmanager
def kernels(device: Device, *, xla: bool = False) -> Generator[None]:
    """Inside it Keras traces with our kernels, where they suit; on a GPU only with those that correct wrong numbers.
    xla: whether XLA compiles what is traced."""
    token = _xla.set(xla)
    try:
        with loaded(KERNELS).where_sound(faster=device.kind == "cpu"):
            yield
    finally:
        _xla.reset(token)


def compiled_by_xla() -> bool:
    """Whether XLA is to compile what is traced now: it lacks some operations of TensorFlow."""
    return _xla.get()


def kernels_off(device: Device) -> Sequence[KernelOff]:
    """Return the disabled kernels for `device`."""
    return loaded(KERNELS).off(faster=device.kind == "cpu")
