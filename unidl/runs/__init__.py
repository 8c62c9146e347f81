"""What `unidl train` does, for programs: one frozen value says what a run is, and `train` does it.

from unidl.runs import RunConfiguration, train

finished = train(RunConfiguration.of(model="cnn", epochs=3), "runs/cnn")
"""

from unidl.runs.configuration import RunConfiguration
from unidl.runs.files import read_options
from unidl.runs.training import FinishedRun, train

__all__ = ["FinishedRun", "RunConfiguration", "read_options", "train"]
