"""The kernels of this adapter, imported on first use: without them the adapter still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from unidl.backend import KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_jax.kernels"


def kernels(device: Any) -> AbstractContextManager[None]:
    """Make Keras trace with unidl's kernels where they apply, if `device` is a CPU; otherwise with its own."""
    return loaded(KERNELS).where_sound() if device.platform == "cpu" else nullcontext()


def corrections(device: Any) -> AbstractContextManager[None]:
    """Inside it Keras traces with those kernels alone that correct its numbers, where `device` is a CPU."""
    return loaded(KERNELS).where_sound(faster=False) if device.platform == "cpu" else nullcontext()


def kernels_off(device: Any) -> Sequence[KernelOff]:
    """Return the disabled kernels for `device`; none are intended for a GPU."""
    return loaded(KERNELS).off() if device.platform == "cpu" else ()
