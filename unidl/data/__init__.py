"""Data: what a model is trained and tested on, checked before training."""

from unidl.data.dataset import Dataset, Split
from unidl.data.load import load_data

__all__ = ["Dataset", "Split", "load_data"]
