"""Builders that return a plain keras.Model. Importing this package does not import Keras or a framework."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unidl.models import builders

if TYPE_CHECKING:
    from unidl.models.builder import Builder, Reading, Recipe, Workload
    from unidl.models.cnn import build_cnn  # noqa: F401 - for editors
    from unidl.models.freezing import base_of, set_trainable_state, trainable_state, unfreeze
    from unidl.models.initial_weights import initialise
    from unidl.models.low_rank import merge_lora
    from unidl.models.lstm import build_lstm  # noqa: F401 - for editors
    from unidl.models.rebuilding import build
    from unidl.models.records import Architecture, Record, note, record_of
    from unidl.models.tabular import build_tabular  # noqa: F401 - for editors
    from unidl.models.text_classifier import build_text_classifier  # noqa: F401 - for editors
    from unidl.models.transfer import build_transfer  # noqa: F401 - for editors
    from unidl.models.transformer import build_transformer  # noqa: F401 - for editors

_HOME = {
    **dict.fromkeys(("Builder", "Reading", "Recipe", "Workload"), "unidl.models.builder"),
    **dict.fromkeys(("base_of", "set_trainable_state", "trainable_state", "unfreeze"), "unidl.models.freezing"),
    "initialise": "unidl.models.initial_weights",
    "merge_lora": "unidl.models.low_rank",
    "build": "unidl.models.rebuilding",
    **dict.fromkeys(("Architecture", "Record", "note", "record_of"), "unidl.models.records"),
    **builders.functions(),
}

__all__ = [
    "Architecture",
    "Builder",
    "Reading",
    "Recipe",
    "Record",
    "Workload",
    "base_of",
    "build",
    "builders",
    "initialise",
    "merge_lora",
    "note",
    "record_of",
    "set_trainable_state",
    "trainable_state",
    "unfreeze",
]
__all__ += builders.functions()  # pyright: ignore[reportUnsupportedDunderAll] - a new model is one line, there


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unidl.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
