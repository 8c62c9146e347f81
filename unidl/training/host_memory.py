"""Reuse of memory freed by a training step on the CPU for the next step."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

from unidl.errors import UsageError

VARIABLE = "UNIDL_KEEP_MEMORY"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Constants of glibc's malloc.h; see `man 3 mallopt`."""
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Configure glibc not to return freed memory to the system; return whether this is active.

    By default it returns every large array immediately, and the next step pays for each page again: a fifth of the time
    of a small convolutional network. The process then keeps its peak size. UNIDL_KEEP_MEMORY=0 leaves
    glibc unchanged; other C libraries are never changed. Raises `UsageError` for values other than 0 and 1.
    """
    wanted = os.environ.get(VARIABLE) or "1"
    if wanted not in ("0", "1"):
        raise UsageError(f"Cannot use {VARIABLE}={wanted!r}. Allowed: '0', '1'.")
    if wanted == "0" or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
