"""Training: one loop for every model and backend, and the records of a run."""

from unidl.training.trainer import Trainer

__all__ = ["Trainer"]
