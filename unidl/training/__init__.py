"""Training: the loop, once, for every model and backend; and what it keeps."""

from unidl.training.saved import load_model
from unidl.training.trainer import Trainer

__all__ = ["Trainer", "load_model"]
