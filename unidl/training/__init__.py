"""Training: the loop, once, for every model and backend; and what a run keeps."""

from unidl.training.trainer import Trainer

__all__ = ["Trainer"]
