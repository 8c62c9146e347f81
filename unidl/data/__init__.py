"""Data: what a model is trained and tested on, checked before training or as it is read."""

from unidl.data.dataset import Dataset, Split
from unidl.data.load import Loader, load_data
from unidl.data.source import Source

__all__ = ["Dataset", "Loader", "Source", "Split", "load_data"]
