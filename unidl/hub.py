"""KerasHub, an extra: imported when it is needed, and without TensorFlow where that is not in use."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unidl.errors import ModelError


def keras_hub() -> Any:
    """Import KerasHub. Raises `ModelError` if it is not installed.

    It imports TensorFlow wherever that is installed, which takes seconds, and computes with NumPy where it is not: so
    TensorFlow is hidden from it, unless this process uses it already.
    """
    with _hidden("tensorflow", "tensorflow_text"):
        try:
            import keras_hub  # pyright: ignore[reportMissingImports] - an extra
        except ImportError as error:
            raise ModelError(f"This needs KerasHub ({error}). Install it with: pip install 'unidl[hub]'") from error
    return keras_hub


def is_installed() -> bool:
    """Return whether KerasHub can be imported."""
    return importlib.util.find_spec("keras_hub") is not None


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Make modules that are not imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType] - documented: importing it then fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
