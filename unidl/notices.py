"""What unidl decides on somebody's behalf, said in the log once a process."""

from __future__ import annotations

import logging
import re
from functools import cache

log = logging.getLogger("unidl")


@cache
def notice(message: str) -> None:
    """Log `message` at INFO, unless this process has said it before."""
    log.info("%s", message)


def uncoloured(text: str) -> str:
    """Return what an error says without the colours that Keras puts around the messages of a model's own code."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
