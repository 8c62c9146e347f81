"""unidl: write a model and its training once; run it on JAX, PyTorch or TensorFlow.

Importing this package imports neither Keras nor a framework: the first call that needs one decides which.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unidl.data import Dataset, Split, load_data
    from unidl.errors import UnidlError
    from unidl.generation import generate_text
    from unidl.models import build_cnn, build_lstm, build_transfer, unfreeze
    from unidl.registry import backends, use
    from unidl.saving import load_model, load_weights, save_keras
    from unidl.training import Trainer

_HOME = {
    "Dataset": "unidl.data",
    "Split": "unidl.data",
    "Trainer": "unidl.training",
    "UnidlError": "unidl.errors",
    "backends": "unidl.registry",
    "build_cnn": "unidl.models",
    "build_lstm": "unidl.models",
    "build_transfer": "unidl.models",
    "generate_text": "unidl.generation",
    "load_data": "unidl.data",
    "load_model": "unidl.saving",
    "load_weights": "unidl.saving",
    "save_keras": "unidl.saving",
    "unfreeze": "unidl.models",
    "use": "unidl.registry",
}

__all__ = [
    "Dataset",
    "Split",
    "Trainer",
    "UnidlError",
    "backends",
    "build_cnn",
    "build_lstm",
    "build_transfer",
    "generate_text",
    "load_data",
    "load_model",
    "load_weights",
    "save_keras",
    "unfreeze",
    "use",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unidl' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
