"""What the files of the project import, read from their text."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"jax", "jaxlib", "torch", "tensorflow"}
ADAPTERS = sorted(path.name for path in (ROOT / "backends").glob("unidl_*") if path.is_dir())

Graph = Mapping[str, set[str]]


def imports(source: str, package: str) -> Iterator[str]:
    """Every module that a file imports, by absolute name, also inside functions and by import_module("...").

    package: that of the file; relative imports start from it. `from a import b` gives a.b: b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def within(module: str, allowed: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def files(base: Path, folder: str = "") -> list[tuple[Path, str]]:
    """Every Python file in a folder of a source root, with the package it lies in."""
    paths = sorted((base / folder).rglob("*.py"))
    return [(path, ".".join(path.parent.relative_to(base).parts)) for path in paths]


def graph(base: Path, folder: str) -> dict[str, set[str]]:
    """For each module of a package those of its modules that it imports, under TYPE_CHECKING as well.

    That the packages around a module are imported with it does not count.
    """
    known = {package if path.stem == "__init__" else f"{package}.{path.stem}" for path, package in files(base, folder)}
    found: dict[str, set[str]] = {}
    for path, package in files(base, folder):
        module = package if path.stem == "__init__" else f"{package}.{path.stem}"
        read = {_module(name, known) for name in imports(path.read_text(encoding="utf-8"), package)}
        found[module] = {name for name in read if name is not None and name != module}
    return found


def circles(arrows: Graph) -> list[list[str]]:
    """The groups of names of which each can be reached from each other one."""
    reached = {name: _reached(name, arrows) for name in arrows}
    groups = {
        tuple(sorted({name} | {other for other in reached[name] if name in reached.get(other, ())})) for name in arrows
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _module(name: str, known: set[str]) -> str | None:
    """The module that an imported name is, or is in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def _reached(start: str, arrows: Graph) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in arrows.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
