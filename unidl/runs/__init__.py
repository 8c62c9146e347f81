"""The Python interface of `unidl train`: a frozen value that describes a run, and a function that trains it.

from unidl.runs import RunConfiguration, train

finished = train(RunConfiguration.of(model="cnn", epochs=3), "runs/cnn")
"""

from unidl.runs.configuration import RunConfiguration
from unidl.runs.files import read_options
from unidl.runs.training import FinishedRun, train

__all__ = ["FinishedRun", "RunConfiguration", "read_options", "train"]
