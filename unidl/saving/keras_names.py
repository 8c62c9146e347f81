"""Which names a description in Keras's words may hold: the parts of a model, and no other function of Keras."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

FAMILIES = re.compile(
    r"keras(\.src)?\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies|quantizers|ops"
    r"|losses|metrics|optimizers)(\.\w+)*"
)
"""The modules of Keras whose classes and functions make a model. Those of others read files, download, set what the
whole process computes with: Keras's safe mode lets a file call most of them."""

OF_KERAS = frozenset(
    {
        *("Sequential", "Functional", "Model"),
        *("DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "QuantizedDTypePolicy"),
    }
)
"""What a model may name out of the modules `keras` and `keras.models`."""

OF_APPLICATIONS = frozenset({"LayerScale", "CustomScaleLayer"})
"""The layers of its own that a network of keras.applications has: ConvNeXt, and InceptionResNetV2."""

LIBRARIES = ("keras_hub", "keras_cv", "keras_nlp")
"""The packages beside itself that Keras imports because a file names them."""

REFUSED = {
    **dict.fromkeys(("Lambda", "__lambda__"), "A Python lambda is never loaded, since it could do anything"),
    **dict.fromkeys(("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"), "It holds code of another framework"),
    **dict.fromkeys(
        ("StringLookup", "IntegerLookup", "TextVectorization"), "It keeps words, and reads them from files"
    ),
    "__typespec__": "It is no part of a model",
}
"""Classes, wherever they are from, and why not."""

VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
)
"""How Keras writes down values that JSON lacks."""


def refuse_names(description: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a description of Keras's names what is no part of a model."""
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
            raise ValueError(f"it names {_short(name)}, which is no name of a part of a model")
        if module is not None and not _is_allowed(module, name):
            raise ValueError(f"it names {_short(name)} of {_short(module)}, which is no part of a model")


def without_compilation(value: Any) -> Any:
    """The description without optimizers, losses and metrics: a `Trainer` brings those."""
    if isinstance(value, dict):
        return {key: without_compilation(member) for key, member in value.items() if key != "compile_config"}
    return [without_compilation(member) for member in value] if isinstance(value, list) else value


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a description that names a class or a function."""
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
    """Whether a module may be one of a part of a model. Keras finds others only among the classes given to it."""
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
