"""The kernels of this adapter, imported when somebody first wants them: without them it still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from unidl.backend import KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_jax.kernels"


def kernels(device: Any) -> AbstractContextManager[None]:
    """Inside it Keras traces with our kernels, where they suit and `device` is a CPU; else with its own."""
    return loaded(KERNELS).where_sound() if device.platform == "cpu" else nullcontext()


def corrections(device: Any) -> AbstractContextManager[None]:
    """Inside it Keras traces with those kernels alone that correct its numbers, where `device` is a CPU."""
    return loaded(KERNELS).where_sound(faster=False) if device.platform == "cpu" else nullcontext()


def kernels_off(device: Any) -> Sequence[KernelOff]:
    """Those that stay off on `device`; on a GPU none is meant to be in use."""
    return loaded(KERNELS).off() if device.platform == "cpu" else ()
