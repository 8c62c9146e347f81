"""The kernels of this adapter, imported on first use: without them the adapter still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from unidl.backend import Device, KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_tensorflow.kernels"


def kernels(device: Device) -> AbstractContextManager[None]:
    """Make Keras trace with unidl's kernels where they apply; on a GPU only with those that correct wrong results."""
    return loaded(KERNELS).where_sound(faster=device.kind == "cpu")


def kernels_off(device: Device) -> Sequence[KernelOff]:
    """Return the disabled kernels for `device`."""
    return [one for one in loaded(KERNELS).off() if one.corrects or device.kind == "cpu"]
