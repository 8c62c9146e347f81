"""The allowed values of each setting of a run, and the errors for other values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unidl.errors import UsageError
from unidl.finite import is_number
from unidl.shortening import shown


@dataclass(frozen=True)
class Kind:
    """The allowed values of a setting. allowed: description for the message."""

    allowed: str
    accepts: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


WHOLE_FROM_0 = Kind("a whole number of at least 0", lambda value: _whole(value) and value >= 0)
WHOLE_FROM_1 = Kind("a whole number of at least 1", lambda value: _whole(value) and value >= 1)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
FRACTION = Kind("a number from 0 up to, but not including, 1", lambda value: is_number(value) and 0 <= value < 1)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
WORD = Kind("a non-empty string", lambda value: isinstance(value, str) and value != "")
SCHEDULE = Kind('"constant" or "cosine"', lambda value: value in ("constant", "cosine"))
MISSING = Kind('"raise" or "mean"', lambda value: value in ("raise", "mean"))
ON_ERROR = Kind('"raise" or "skip"', lambda value: value in ("raise", "skip"))
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
    "feature_variants": WHOLE_FROM_1,
    "workers": WHOLE_FROM_0,
    "processes": TRUTH,
    "on_error": ON_ERROR,
    "frames": WHOLE_FROM_1,
    "target": WORD,
    "categories": WORD,
    "missing": MISSING,
    "text": WORD,
    "augment": WORD,
    "mixup": POSITIVE,
    "cutmix": POSITIVE,
    "stages": WORD,
    "report": TRUTH,
    "lora_rank": WHOLE_FROM_1,
    "precision": WORD,
}
"""The settings that describe a run."""

AROUND = {"backend": WORD, "device": WORD, "out": WORD, "trust": TRUTH, "quiet": TRUTH, "json": TRUTH}
"""The options of `unidl train` that control where and how it runs."""

FOUND = {"model_sha256": WORD, "model_arguments": FACTS, "data_origin": FACTS}
"""Facts that a run determines and stores, so that repeating it uses the same."""


def require(name: str, value: Any, kind: Kind, source: str = "") -> None:
    """Raise `UsageError` for an invalid value of a setting. source: where it comes from, such as " in run.toml"."""
    if not kind.accepts(value):
        raise UsageError(f"Cannot use {name} = {shown(value)}{source}: it must be {kind.allowed}.")
