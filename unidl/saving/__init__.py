"""Models as files: whole or not at all, and read as if a stranger had written them."""

from unidl.saving.keras_export import save_keras
from unidl.saving.keras_weights import load_weights
from unidl.saving.saved import load_model

__all__ = ["load_model", "load_weights", "save_keras"]
