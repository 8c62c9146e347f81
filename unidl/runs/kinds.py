"""What each setting of a run may be, and the errors for what it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unidl.errors import UsageError
from unidl.shortening import shown


@dataclass(frozen=True)
class Kind:
    """What a setting may be. allowed: in words, for the message."""

    allowed: str
    accepts: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return (_whole(value) or isinstance(value, float)) and math.isfinite(value)


WHOLE_FROM_0 = Kind("a whole number of at least 0", lambda value: _whole(value) and value >= 0)
WHOLE_FROM_1 = Kind("a whole number of at least 1", lambda value: _whole(value) and value >= 1)
POSITIVE = Kind("a number above 0", lambda value: _number(value) and value > 0)
FRACTION = Kind("a number from 0 up to, but not including, 1", lambda value: _number(value) and 0 <= value < 1)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
WORD = Kind("a text that is not empty", lambda value: isinstance(value, str) and value != "")
SCHEDULE = Kind('"constant" or "cosine"', lambda value: value in ("constant", "cosine"))
FACTS = Kind("a mapping", lambda value: isinstance(value, dict))

RUN = {
    "model": WORD,
    "data": WORD,
    "epochs": WHOLE_FROM_1,
    "batch_size": WHOLE_FROM_1,
    "learning_rate": POSITIVE,
    "schedule": SCHEDULE,
    "clip_norm": POSITIVE,
    "accumulate": WHOLE_FROM_1,
    "early_stopping": WHOLE_FROM_1,
    "dropout": FRACTION,
    "image_size": WHOLE_FROM_1,
    "seed": WHOLE_FROM_0,
    "plot": TRUTH,
    "save_every_steps": WHOLE_FROM_1,
    "base": WORD,
    "weights": WORD,
    "precompute_frozen": TRUTH,
    "stages": WORD,
    "report": TRUTH,
    "precision": WORD,
}
"""The settings that say what a run is."""

AROUND = {"backend": WORD, "device": WORD, "out": WORD, "trust": TRUTH, "quiet": TRUTH, "json": TRUTH}
"""The options of `unidl train` that say where and how it is done."""

FOUND = {"model_sha256": WORD, "model_arguments": FACTS, "data_origin": FACTS}
"""What a run finds out and keeps, so that it is repeated with the same."""


def require(name: str, value: Any, kind: Kind, source: str = "") -> None:
    """Raise `UsageError` for a value that a setting cannot have. source: where it comes from, as in " in run.toml"."""
    if not kind.accepts(value):
        raise UsageError(f"Cannot use {name} = {shown(value)}{source}: it must be {kind.allowed}.")
