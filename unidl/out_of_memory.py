"""Whether an error says that the memory ran out: each framework has errors of its own for it, and says so in words."""

from __future__ import annotations

import re

WORDS = re.compile(
    r"out of memory|OutOfMemory|RESOURCE_?EXHAUSTED|not enough memory|unable to allocate|\bMemoryError\b", re.IGNORECASE
)
"""How CUDA, PyTorch, XLA, TensorFlow, NumPy and Python say it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error is one."""
    return isinstance(error, MemoryError) or says_out_of_memory(f"{type(error).__name__}: {error}")


def says_out_of_memory(text: str) -> bool:
    """Whether this is what such an error says."""
    return WORDS.search(text) is not None
