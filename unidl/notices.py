"""Automatic decisions of unidl, logged once per process."""

from __future__ import annotations

import logging
import re
from functools import cache

log = logging.getLogger("unidl")


@cache
def notice(message: str) -> None:
    """Log `message` at INFO, unless this process has logged it before."""
    log.info("%s", message)


def uncoloured(text: str) -> str:
    """Return an error message without the terminal colors that Keras adds to messages of user code."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
