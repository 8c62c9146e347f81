"""What an import costs, and who may import whom.

Without this a person waits seconds for --help, or pulls a second framework into the process.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest

from unidl.cli import main as cli

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"jax", "jaxlib", "torch", "tensorflow"}
HEAVY = {*FRAMEWORKS, "keras", "sklearn", "matplotlib", "PIL", "rich", "scipy"}
SEAM = ("backend", "errors", "kernels", "keras_internals", "keras_places", "model_state", "replacements")
"""The modules of the core that an adapter may import."""
ADAPTERS = sorted(path.name for path in (ROOT / "backends").glob("unidl_*") if path.is_dir())
HELPS = [["--help"], *([name, "--help"] for name in cli.COMMANDS)]


def imported_by(statement: str) -> set[str]:
    """The packages that a fresh process holds after a statement."""
    code = (
        f"import sys\n{statement}\n"
        "import json; sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stderr))


def test_a_heavy_import_is_noticed():
    assert "rich" in imported_by("import unidl, rich.table")


def test_import_unidl_is_light():
    assert not imported_by("import unidl") & {*HEAVY, "numpy"}


def test_import_unidl_reads_no_entry_points():
    # Those of every distribution in the environment take longer than all the rest of the import.
    expensive = ("importlib.metadata", "unidl.registry", "unidl.backend")
    code = f"import sys, unidl; print([name for name in {expensive} if name in sys.modules])"
    assert processes.python(code, UNIDL_BACKEND="jax") == "[]"


MODULES = (
    *("backend", "data", "devices", "errors", "generation", "kernels", "layers", "models", "precision", "random"),
    *("registry", "saving", "testing", "training"),
)


def test_every_public_module_is_an_attribute():
    code = f"import unidl; assert {{*{MODULES}}} < {{*dir(unidl)}}; "
    code += f"print(*(getattr(unidl, name).__name__ for name in {MODULES}))"
    assert processes.python(code).split() == [f"unidl.{name}" for name in MODULES]


def test_layers_are_reached_through_unidl():
    assert processes.python("import unidl; print(unidl.layers.Dropout(0.5, seed=1).rate)") == "0.5"


def test_type_checkers_see_the_same_modules():
    source = (ROOT / "unidl" / "__init__.py").read_text(encoding="utf-8")
    tree = ast.walk(ast.parse(source))
    found = [node for node in tree if isinstance(node, ast.ImportFrom) and node.module == "unidl"]
    assert {alias.name for node in found for alias in node.names} == set(MODULES)


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_is_light(words: list[str]):
    loaded = imported_by(f"from unidl.cli.main import main; code = main({words!r}); assert code == 0, code")
    assert not loaded & {*HEAVY, "numpy"}


def test_listing_the_backends_imports_none():
    loaded = imported_by("import unidl; assert unidl.backends()")
    assert not loaded & {*FRAMEWORKS, "keras"}


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


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def forbidden(source: str, package: str) -> list[str]:
    """The imports of a file that break the direction examples, cli -> unidl -> (entry point) -> adapter."""
    found = sorted(set(imports(source, package)))
    if package.startswith("examples"):
        allowed = {"unidl", "numpy", "scipy", "keras", *sys.stdlib_module_names}
        return [module for module in found if not within(module, allowed)]
    top = package.partition(".")[0]
    if top == "unidl":
        return [module for module in found if within(module, {*FRAMEWORKS, *ADAPTERS})]
    core = [module for module in found if module.partition(".")[0].startswith("unidl")]
    allowed = {top, *(f"unidl.{name}" for name in SEAM)}
    return [module for module in core if not within(module, allowed)]


@pytest.mark.parametrize(
    ("package", "source", "wrong"),
    [
        ("unidl.training", "import torch", ["torch"]),
        ("unidl.training", "def f():\n    from jax.numpy import dot", ["jax.numpy.dot"]),
        ("unidl.training", "import importlib; importlib.import_module('tensorflow')", ["tensorflow"]),
        ("unidl.training", "from unidl_jax.loop import JaxLoop", ["unidl_jax.loop.JaxLoop"]),
        ("unidl.training", "import numpy, keras; from . import loop", []),
        ("unidl_jax", "from unidl import registry", ["unidl.registry"]),
        ("unidl_jax", "import unidl", ["unidl"]),
        ("unidl_jax", "from unidl_torch.loop import TorchLoop", ["unidl_torch.loop.TorchLoop"]),
        ("unidl_jax", "import jax; from unidl.backend import Device; from unidl import errors", []),
        ("unidl_jax", "from .loop import JaxLoop; import unidl_jax.loop", []),
        ("examples", "import jax", ["jax"]),
        ("examples", "import matplotlib.pyplot", ["matplotlib.pyplot"]),
        ("examples", "import json, numpy, keras, unidl", []),
    ],
)
def test_the_rule_is_able_to_refuse(package: str, source: str, wrong: list[str]):
    assert forbidden(source, package) == wrong


def files() -> list[tuple[Path, str]]:
    """Every Python file under the rule, with the package it lies in."""
    found: list[tuple[Path, str]] = []
    for base, folder in ((ROOT, "unidl"), (ROOT / "backends", ""), (ROOT, "examples")):
        for path in sorted((base / folder).rglob("*.py")):
            found.append((path, ".".join(path.parent.relative_to(base).parts)))
    return found


def test_the_rule_reads_the_files_it_is_about():
    packages = {package for _, package in files()}
    assert {"unidl", "unidl.cli", "unidl_jax", "unidl_torch", "unidl_tensorflow"} <= packages


@pytest.mark.parametrize(
    ("path", "package"),
    [pytest.param(path, package, id=str(path.relative_to(ROOT))) for path, package in files()],
)
def test_imports_go_in_one_direction(path: Path, package: str):
    assert forbidden(path.read_text(encoding="utf-8"), package) == []
