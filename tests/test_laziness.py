"""What an import costs.

Without this a person waits seconds for --help, or pulls a second framework into the process.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import processes
import pytest
from imports import FRAMEWORKS

from unidl.cli import main as cli

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {*FRAMEWORKS, "keras", "sklearn", "matplotlib", "PIL", "rich", "scipy"}
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


@pytest.mark.once
def test_every_public_module_is_an_attribute():
    code = f"import unidl; assert {{*{MODULES}}} < {{*dir(unidl)}}; "
    code += f"print(*(getattr(unidl, name).__name__ for name in {MODULES}))"
    assert processes.python(code).split() == [f"unidl.{name}" for name in MODULES]


@pytest.mark.once
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
