"""The kernels of this adapter, imported on first use: without them the adapter still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from unidl.backend import KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_torch.kernels"


def kernels() -> AbstractContextManager[None]:
    """Make Keras compute with unidl's kernels where they apply; most do not apply on a GPU."""
    return loaded(KERNELS).where_sound()


def kernels_off() -> Sequence[KernelOff]:
    """Return the disabled kernels."""
    return loaded(KERNELS).off()
