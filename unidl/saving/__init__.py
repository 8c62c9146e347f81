"""Saving and loading of models. Files are written atomically, and every file is read as untrusted input."""

from unidl.saving.keras_export import save_keras
from unidl.saving.keras_weights import load_weights
from unidl.saving.saved import load_model

__all__ = ["load_model", "load_weights", "save_keras"]
