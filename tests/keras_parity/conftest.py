"""The tables of cases are made of Keras's classes, so the backend is chosen before they import Keras."""

from unidl import registry

registry.current()
