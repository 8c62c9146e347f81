"""Errors of memory that ran out. Without this one framework's is told as what to do, and another's as a crash."""

from __future__ import annotations

import numpy as np
import pytest

from unidl.out_of_memory import is_out_of_memory, says_out_of_memory
from unidl.workers.process import in_words


class OutOfMemoryError(RuntimeError):
    """PyTorch's is called so."""


class ResourceExhaustedError(RuntimeError):
    """TensorFlow's is called so."""


ERRORS = (
    MemoryError(),
    OutOfMemoryError("Tried to allocate 20.00 GiB"),
    ResourceExhaustedError("{{function_node}}"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_each_is_known_here_and_when_another_process_tells_of_it(error: Exception):
    told = f"{type(error).__name__}: {error}"
    assert is_out_of_memory(error)
    assert says_out_of_memory(told)
    assert in_words(told).startswith("out of memory: ")


def test_numpys_own_is_known():
    with pytest.raises(MemoryError) as caught:
        np.empty(2**57, np.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [ValueError("shapes (2, 3) and (4, 5)"), RuntimeError("a memory of the past")])
def test_other_errors_are_not(error: Exception):
    assert not is_out_of_memory(error)
    assert in_words(str(error)) == str(error)
