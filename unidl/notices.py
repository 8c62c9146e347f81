"""What unidl decides on somebody's behalf, said in the log once a process."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger("unidl")


@cache
def notice(message: str) -> None:
    """Log `message` at INFO, unless this process has said it before."""
    log.info("%s", message)
