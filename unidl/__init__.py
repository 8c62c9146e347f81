"""unidl: write a model and its training once; run it on JAX, PyTorch or TensorFlow.

Importing this package imports neither Keras nor a framework: the first call that needs one decides which, and so does
`import keras` after it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unidl.keras_import import listen
from unidl.model_reading import models_are_read_by
from unidl.models import builders as _builders
from unidl.version import __version__ as __version__

if TYPE_CHECKING:
    from unidl import (  # noqa: F401 - attributes of this module, as `__getattr__` gives them
        backend,
        data,
        devices,
        errors,
        generation,
        kernels,
        layers,
        models,
        precision,
        random,
        registry,
        saving,
        testing,
        training,
    )
    from unidl.data import Dataset, Split, load_data
    from unidl.errors import UnidlError
    from unidl.generation import generate_text
    from unidl.models import (  # noqa: F401 - for editors
        build_cnn,
        build_lstm,
        build_tabular,
        build_text_classifier,
        build_transfer,
        build_transformer,
        merge_lora,
        unfreeze,
    )
    from unidl.registry import backends, use
    from unidl.saving import load_model, load_weights, save_keras
    from unidl.training import Stage, Trainer, fit_stages

_HOME = {
    "Dataset": "unidl.data",
    "Split": "unidl.data",
    "Stage": "unidl.training",
    "Trainer": "unidl.training",
    "UnidlError": "unidl.errors",
    "backends": "unidl.registry",
    "fit_stages": "unidl.training",
    "generate_text": "unidl.generation",
    "load_data": "unidl.data",
    "load_model": "unidl.saving",
    "load_weights": "unidl.saving",
    "merge_lora": "unidl.models",
    "save_keras": "unidl.saving",
    "unfreeze": "unidl.models",
    "use": "unidl.registry",
    **_builders.functions(),
}

_MODULES = frozenset(
    (
        *("backend", "data", "devices", "errors", "generation", "kernels", "layers", "models", "precision", "random"),
        *("registry", "saving", "testing", "training"),
    )
)
"""Submodules that are imported on first access, such as `unidl.layers`. `from unidl import *` does not include them."""

__all__ = [
    "Dataset",
    "Split",
    "Stage",
    "Trainer",
    "UnidlError",
    "backends",
    "fit_stages",
    "generate_text",
    "load_data",
    "load_model",
    "load_weights",
    "merge_lora",
    "save_keras",
    "unfreeze",
    "use",
]
__all__ += _builders.functions()  # pyright: ignore[reportUnsupportedDunderAll] - a new model is one line, there


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"unidl.{name}")  # which makes it an attribute
    if name not in _HOME:
        raise AttributeError(f"module 'unidl' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def _prepare_keras() -> None:
    from unidl import registry

    registry.prepare_keras()


def _load_model(path: str) -> Any:
    from unidl.saving import load_model

    return load_model(path)


# Lower-level modules must not import higher-level ones, so the package connects them here.
listen(_prepare_keras)
models_are_read_by(_load_model)
