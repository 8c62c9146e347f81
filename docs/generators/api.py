"""The reference of Python names: lists of what is public, from which Sphinx makes a page a name."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType

from unidl.models import builders

TRAINING = ("Trainer", "Stage", "fit_stages", "unfreeze", "merge_lora", "generate_text")
SAVING = ("load_model", "load_weights", "save_keras")


def pages() -> dict[str, str]:
    """Return one page a subject, and one that lists them."""
    build = tuple(builders.functions())
    others = [name for name in import_module("unidl").__all__ if name not in (*TRAINING, *SAVING, *build)]
    subjects = {
        "api_models": ("Building models", "unidl", build),
        "api_training": ("Training and fine-tuning", "unidl", TRAINING),
        "api_saving": ("Saving and loading", "unidl", SAVING),
        "api_choosing": ("Backends, data and errors", "unidl", tuple(others)),
        "api_data": ("unidl.data", "unidl.data", _listed("unidl.data")),
        "api_layers": ("unidl.layers", "unidl.layers", _listed("unidl.layers")),
        "api_builders": ("unidl.models", "unidl.models", _listed("unidl.models")),
        "api_builder_registry": ("unidl.models.builders", "unidl.models.builders", _own("unidl.models.builders")),
        "api_devices": ("unidl.devices", "unidl.devices", _own("unidl.devices")),
        "api_precision": ("unidl.precision", "unidl.precision", _own("unidl.precision")),
        "api_random": ("unidl.random", "unidl.random", _own("unidl.random")),
        "api_errors": ("unidl.errors", "unidl.errors", _own("unidl.errors")),
        "api_backend": ("unidl.backend", "unidl.backend", ("Precision", *_own("unidl.backend"))),
        "api_backend_values": ("unidl.backend_values", "unidl.backend_values", _own("unidl.backend_values")),
        "api_testing": ("unidl.testing", "unidl.testing", _listed("unidl.testing")),
    }
    index = f"{_heading('Python')}\n.. toctree::\n\n" + "".join(f"   {page}\n" for page in subjects)
    return {"api.rst": index} | {f"{page}.rst": _subject(*about) for page, about in subjects.items()}


def _subject(title: str, module: str, names: tuple[str, ...]) -> str:
    listed = "".join(f"   {name}\n" for name in dict.fromkeys(names))
    said = f"{_first_sentence(import_module(module))}\n\n" if title == module else ""
    return f"{_heading(title)}\n{said}.. currentmodule:: {module}\n\n.. autosummary::\n   :toctree: api\n\n{listed}"


def _heading(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n"


def _first_sentence(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").partition("\n")[0]


def _listed(module: str) -> tuple[str, ...]:
    return tuple(import_module(module).__all__)


def _own(module: str) -> tuple[str, ...]:
    """The functions and classes that a module defines, in its order, but for those with an underscore."""
    found = vars(import_module(module)).items()
    return tuple(
        name
        for name, value in found
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module
    )
