"""How this process handles the memory that a training step on the CPU frees: it keeps it for the next step."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

from unidl.errors import UsageError

VARIABLE = "UNIDL_KEEP_MEMORY"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h; what they do: `man 3 mallopt`."""
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc not to give freed memory back to the system; return whether it does so now.

    Left alone it gives every large array back at once, and the next step pays for each page anew: a fifth of the time
    of a small convolutional network. The process then stays as large as it has been once. UNIDL_KEEP_MEMORY=0 leaves
    glibc alone; other C libraries always are. Raises `UsageError` for another value than 0 or 1.
    """
    wanted = os.environ.get(VARIABLE) or "1"
    if wanted not in ("0", "1"):
        raise UsageError(f"Cannot use {VARIABLE}={wanted!r}. Allowed: '0', '1'.")
    if wanted == "0" or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
