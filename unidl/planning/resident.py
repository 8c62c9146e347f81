"""How much main memory this process has taken at its peak, by the system's count."""

from __future__ import annotations

import sys

from unidl.errors import DeviceError


def peak_bytes() -> int:
    """Return the most memory that this process has had resident so far. Raises `DeviceError` on Windows."""
    try:
        import resource
    except ImportError as error:
        raise DeviceError(
            "Cannot measure the memory of a step: this system does not say how much a process takes. Leave out "
            "--calibrate to plan from the shapes alone."
        ) from error
    unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
