"""Detection of out-of-memory errors, which differ in type and message between frameworks."""

from __future__ import annotations

import re

WORDS = re.compile(
    r"out of memory|OutOfMemory|RESOURCE_?EXHAUSTED|not enough memory|unable to allocate|\bMemoryError\b", re.IGNORECASE
)
"""The wording of CUDA, PyTorch, XLA, TensorFlow, NumPy and Python."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this is an out-of-memory error."""
    return isinstance(error, MemoryError) or says_out_of_memory(f"{type(error).__name__}: {error}")


def says_out_of_memory(text: str) -> bool:
    """Return whether this is the message of an out-of-memory error."""
    return WORDS.search(text) is not None
