"""Builders that return a plain keras.Model. Importing this package imports neither Keras nor a framework."""

from unidl.models.cnn import build_cnn
from unidl.models.freezing import base_of, set_trainable_state, trainable_state, unfreeze
from unidl.models.initial_weights import initialise
from unidl.models.lstm import build_lstm
from unidl.models.rebuilding import BUILDERS, build
from unidl.models.records import Architecture, Record, note, record_of
from unidl.models.transfer import build_transfer

__all__ = [
    "BUILDERS",
    "Architecture",
    "Record",
    "base_of",
    "build",
    "build_cnn",
    "build_lstm",
    "build_transfer",
    "initialise",
    "note",
    "record_of",
    "set_trainable_state",
    "trainable_state",
    "unfreeze",
]
