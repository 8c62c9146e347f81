"""Data sets for training and testing, checked before training."""

from unidl.data.dataset import Dataset, Split
from unidl.data.load import Loader, load_data

__all__ = ["Dataset", "Loader", "Split", "load_data"]
