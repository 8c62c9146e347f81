"""The version of unidl."""

__version__ = "0.1.0"
