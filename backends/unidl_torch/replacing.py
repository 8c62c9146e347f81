"""The kernels of this adapter, imported when somebody first wants them: without them it still loads and trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from unidl.backend import KernelOff
from unidl.replacements import loaded

KERNELS = "unidl_torch.kernels"


def kernels() -> AbstractContextManager[None]:
    """Inside it Keras computes with our kernels, where they suit; on a GPU most do not."""
    return loaded(KERNELS).where_sound()


def kernels_off() -> Sequence[KernelOff]:
    """Those that stay off."""
    return loaded(KERNELS).off()
