"""Data: what a model is trained and tested on, checked before training or as it is read."""

from unidl.data.dataset import Dataset, Split
from unidl.data.load import Loader, load_data
from unidl.data.parts import split_by_group, split_by_time
from unidl.data.source import Source
from unidl.data.table_form import TableForm
from unidl.data.windows import Windows

__all__ = [
    "Dataset",
    "Loader",
    "Source",
    "Split",
    "TableForm",
    "Windows",
    "load_data",
    "split_by_group",
    "split_by_time",
]
