"""The public names of unidl, and the rules that their docstrings keep: the Google convention, complete."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

LISTED = ("unidl", "unidl.data", "unidl.layers", "unidl.models", "unidl.testing")
"""Modules whose public names are those in `__all__`."""
WHOLE = (
    "unidl.backend",
    "unidl.backend_values",
    "unidl.devices",
    "unidl.errors",
    "unidl.models.builders",
    "unidl.precision",
    "unidl.random",
)
"""Modules whose public names are all functions and classes that they define, but for those with an underscore."""
BESIDE = ("unidl.backend.Precision", "unidl.data.images.load_images", "unidl.registry.BackendStatus")
"""Public names that are somewhere else."""

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Examples")
"""The titles that a documentation generator renders, in their order."""
INDENT = "    "


@dataclass(frozen=True)
class Public:
    """A public name, and its docstring as its author wrote it."""

    name: str
    value: Any
    owner: type | None = None
    """The class that a method or property belongs to."""

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")

    @property
    def called(self) -> Any:
        """What has the signature, and what it raises and returns."""
        return self.value.__func__ if isinstance(self.value, classmethod | staticmethod) else self.value


@dataclass
class Parsed:
    """A docstring in its parts. sections: the items of each by its title, each item in one line."""

    summary: str
    sections: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def named(self, title: str) -> list[str]:
        """The names in front of the colons of a section."""
        return [re.split(r":| \(", item, maxsplit=1)[0] for item in self.sections.get(title, ())]


def public() -> list[Public]:
    """Every public name of unidl: functions, classes, and the methods and properties of these."""
    found: dict[int, Public] = {}
    for name in LISTED:
        module = import_module(name)
        for attribute in module.__all__:
            _add(found, f"{name}.{attribute}", getattr(module, attribute))
    for name in WHOLE:
        for attribute, value in vars(import_module(name)).items():
            if not attribute.startswith("_") and getattr(value, "__module__", None) == name:
                _add(found, f"{name}.{attribute}", value)
    for path in BESIDE:
        module, _, attribute = path.rpartition(".")
        _add(found, path, getattr(import_module(module), attribute))
    return list(found.values())


def _add(found: dict[int, Public], name: str, value: Any) -> None:
    """Add a function, or a class with its methods; a name that is found twice counts once."""
    if isinstance(value, ModuleType) or not (isinstance(value, type) or callable(value)) or id(value) in found:
        return
    found[id(value)] = Public(name, value)
    if isinstance(value, type):
        for method in methods(name, value):
            found.setdefault(id(method.value), method)


def methods(name: str, owner: type) -> Iterator[Public]:
    """The public methods and properties of a class that unidl defines, and not a base of Keras's or Python's."""
    foreign = [base for base in owner.__mro__ if not base.__module__.startswith("unidl")]
    for base in owner.__mro__:
        for attribute, value in vars(base).items():
            is_method = isinstance(value, FunctionType | classmethod | staticmethod | property) or (
                type(value).__name__ == "cached_property"
            )
            if attribute.startswith("_") or not is_method or base in foreign:
                continue
            if not any(hasattr(other, attribute) for other in foreign):
                yield Public(f"{name}.{attribute}", value, owner)


def parse(text: str) -> Parsed:
    """Read a docstring of the Google convention."""
    lines = text.splitlines()
    parsed = Parsed(lines[0] if lines else "")
    items: list[str] | None = None
    for line in lines[1:]:
        title = re.fullmatch(r"([A-Z][A-Za-z ]*):", line)
        if title is not None:
            items = parsed.sections.setdefault(title[1], [])
            if title[1] not in SECTIONS:
                parsed.unknown.append(title[1])
        elif line and not line.startswith(INDENT):
            items = None
        elif items is not None and line:
            if line[len(INDENT)] != " " or not items:
                items.append(line.strip())
            else:
                items[-1] += f" {line.strip()}"
    return parsed


def problems(one: Public) -> list[str]:
    """What the docstring of a public name lacks, or says wrongly."""
    parsed = parse(one.text)
    if not parsed.summary.endswith("."):
        return [f"{one.name}: its docstring must begin with a sentence in one line, which ends with a full stop"]
    found = [f"there is no section {title!r}; there are {', '.join(SECTIONS)}" for title in parsed.unknown]
    order = [title for title in parsed.sections if title in SECTIONS]
    if order != sorted(order, key=SECTIONS.index):
        found.append(f"its sections must come in the order {', '.join(SECTIONS)}")
    found += [f"{title} is empty" for title, items in parsed.sections.items() if not items]
    if isinstance(one.value, type):
        found += _of_class(one.value, parsed)
    elif callable(one.called):
        found += _of_function(one, parsed)
    found += [f"it raises {name}, which is no error" for name in parsed.named("Raises") if not _is_error(name)]
    return [f"{one.name}: {problem}" for problem in found]


def _of_function(one: Public, parsed: Parsed) -> list[str]:
    signature = inspect.signature(one.called)
    taken = list(signature.parameters.values())
    if one.owner is not None and not isinstance(one.value, staticmethod):
        taken = taken[1:]
    found = _differences(parsed.named("Args"), [_written(parameter) for parameter in taken])
    gives = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    told = "Yields" if inspect.isgeneratorfunction(one.called) else "Returns"
    if gives != (told in parsed.sections):
        found.append(f"{told} is missing" if gives else f"{told} is there, and it returns nothing")
    return found


def _of_class(kind: type, parsed: Parsed) -> list[str]:
    if issubclass(kind, BaseException):
        return []
    described = described_fields(kind)
    if getattr(kind, "_is_protocol", False):
        return [f"{name} has no docstring" for name in described if not described[name]]
    taken = list(inspect.signature(kind).parameters.values())
    if "Args" not in parsed.sections and described and all(described.values()):
        taken = [parameter for parameter in taken if parameter.name not in described]
    elif any(described.values()):
        return ["some of its fields have a docstring of their own; they stand in Args, or each has one"]
    return _differences(parsed.named("Args"), [_written(parameter) for parameter in taken])


def described_fields(kind: type) -> dict[str, bool]:
    """The fields that the body of a class annotates, and whether a docstring follows."""
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):
        return {}
    body = getattr(tree, "body", [])
    fields: dict[str, bool] = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            fields[statement.target.id] = is_text
    return fields


def _written(parameter: inspect.Parameter) -> str:
    """A parameter as `Args` names it."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return stars.get(parameter.kind, "") + parameter.name


def _differences(described: list[str], taken: list[str]) -> list[str]:
    if described == taken:
        return []
    found = [f"{name} is in its signature and not in Args" for name in taken if name not in described]
    found += [f"{name} is in Args and not in its signature" for name in described if name not in taken]
    return found or ["Args has another order than its signature"]


def _is_error(name: str) -> bool:
    kind = getattr(import_module("unidl.errors"), name, getattr(builtins, name, None))
    return isinstance(kind, type) and issubclass(kind, BaseException)
