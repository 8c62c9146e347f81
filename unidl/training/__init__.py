"""Training: the loop, once, for every model and backend; and what it keeps."""

from unidl.training.keras_export import save_keras
from unidl.training.keras_weights import load_weights
from unidl.training.saved import load_model
from unidl.training.trainer import Trainer

__all__ = ["Trainer", "load_model", "load_weights", "save_keras"]
