"""Data: what a model is trained and tested on, checked before training."""

from unidl.data.dataset import Dataset, Split
from unidl.data.load import Loader, load_data

__all__ = ["Dataset", "Loader", "Split", "load_data"]
