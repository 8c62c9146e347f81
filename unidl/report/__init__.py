"""What a person looks at after a training: how often a classifier is right, where it is wrong, and how sure it is then.

from unidl.report import classification_report

classification_report(trainer, data.test).write("runs/cnn-report")
"""

from unidl.report.classification import Classification
from unidl.report.making import Report, classification_report

__all__ = ["Classification", "Report", "classification_report"]
