"""The names that a Keras config may contain: parts of models, and no other function of Keras."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

FAMILIES = re.compile(
    r"keras(\.src)?\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies|quantizers|ops"
    r"|losses|metrics|optimizers)(\.\w+)*"
)
"""The modules of Keras whose classes and functions are parts of models. Other modules read files, download, or change
global settings, and Keras's safe mode lets a file call most of them."""

OF_KERAS = frozenset(
    {
        *("Sequential", "Functional", "Model"),
        *("DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "QuantizedDTypePolicy"),
    }
)
"""Names of the modules `keras` and `keras.models` that a model may contain."""

OF_APPLICATIONS = frozenset({"LayerScale", "CustomScaleLayer"})
"""Layers that keras.applications defines itself, in ConvNeXt and InceptionResNetV2."""

LIBRARIES = ("keras_hub", "keras_cv", "keras_nlp")
"""Other packages that Keras imports if a file names them."""

REFUSED = {
    **dict.fromkeys(("Lambda", "__lambda__"), "Python lambdas are never loaded, since they could run any code"),
    **dict.fromkeys(
        ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"), "It contains code of another framework"
    ),
    **dict.fromkeys(
        ("StringLookup", "IntegerLookup", "TextVectorization"), "It has a vocabulary, which it may read from files"
    ),
    "__typespec__": "It is not a part of a model",
}
"""Classes that are refused from any module, with the reason."""

VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
)
"""Class names with which Keras encodes values that JSON lacks."""


def refuse_names(description: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a Keras config names anything that is not a part of a model."""
    for entry in _entries(description):
        name, module = entry["class_name"], entry.get("module")
        if isinstance(name, str) and name in REFUSED:
            raise ValueError(f"it names {name}. {REFUSED[name]}")
        if isinstance(name, str) and name in VALUES:
            continue
        if "module" not in entry:
            raise ValueError(f"it names {_short(name)} without its module, as older versions of Keras did")
        name = entry.get("config") if name == "function" else name
        if not isinstance(name, str) or not name.isidentifier() or name in REFUSED:
            raise ValueError(f"it names {_short(name)}, which is not a valid name")
        if module is not None and not _is_allowed(module, name):
            raise ValueError(f"it names {_short(name)} of {_short(module)}, which is not a part of a model")


def without_compilation(value: Any) -> Any:
    """Return the config without optimizers, losses and metrics; a `Trainer` supplies those."""
    if isinstance(value, dict):
        return {key: without_compilation(member) for key, member in value.items() if key != "compile_config"}
    return [without_compilation(member) for member in value] if isinstance(value, list) else value


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a config that names a class or a function."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "class_name" in found:
                yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _is_allowed(module: Any, name: str) -> bool:
    """Return whether a module may define parts of models. Keras looks up others only in `custom_objects`."""
    if not isinstance(module, str):
        return False
    package = module.partition(".")[0]
    if package in LIBRARIES:
        return package in sys.modules
    if package != "keras" or module == "keras":
        return package != "keras" or name in OF_KERAS
    if re.fullmatch(r"keras(\.src)?\.models(\.\w+)*", module):
        return name in OF_KERAS
    if re.fullmatch(r"keras\.src\.applications\.\w+", module):
        return name in OF_APPLICATIONS
    return FAMILIES.fullmatch(module) is not None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} [...]"
