"""Export of a run to a file that another program runs, certified against the model in float64.

from unidl.deploy import export

export("runs/cnn", "onnx")
"""

from unidl.deploy.exporting import Exported, export, verify

__all__ = ["Exported", "export", "verify"]
