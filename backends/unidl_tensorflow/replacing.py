"""The kernels of this adapter, imported on first use: without them the adapter still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from unidl.backend import Device, KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_tensorflow.kernels"


def kernels(device: Device) -> AbstractContextManager[None]:
    """Inside it Keras traces with our kernels, where they suit; on a GPU only with those that correct wrong numbers."""
    return loaded(KERNELS).where_sound(faster=device.kind == "cpu")


def kernels_off(device: Device) -> Sequence[KernelOff]:
    """Return the disabled kernels for `device`."""
    return [one for one in loaded(KERNELS).off() if one.corrects or device.kind == "cpu"]
