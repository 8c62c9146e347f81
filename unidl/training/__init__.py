"""Training: one loop for every model and backend, and the records of a run."""

from unidl.training.stage import Stage
from unidl.training.stages import fit_stages
from unidl.training.trainer import Trainer

__all__ = ["Stage", "Trainer", "fit_stages"]
