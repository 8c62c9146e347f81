"""What Keras does not promise to keep is reached in one module of the core and one of each adapter.

Found anywhere else, it would break without a word in the next Keras: nobody would know where to look.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOME = "keras_internals.py"
FILES = sorted(path for folder in ("unidl", "backends") for path in (ROOT / folder).rglob("*.py") if path.name != HOME)
ASKING = ("getattr", "hasattr", "setattr", "delattr", "vars", "place")
"""What finds an attribute by its name as a string."""
ENDINGS = ("_conv", "_kernel", "_initializer")
"""Ends of the names of layers and weights, which Keras happens to use as private names as well."""


@cache
def names_of_keras() -> frozenset[str]:
    """Every name with one underscore in front that Keras defines as a function, a method or an attribute. Read from its
    source, since attributes are made in `__init__`."""
    spec = importlib.util.find_spec("keras")  # does not import it
    assert spec is not None
    assert spec.submodule_search_locations is not None
    found: set[str] = set()
    for path in Path(spec.submodule_search_locations[0], "src").rglob("*.py"):
        if not path.name.endswith("_test.py"):
            found.update(re.findall(r"(?:\bself\.|\bcls\.|\bdef\s+)(_[a-zA-Z]\w*)", path.read_text(encoding="utf-8")))
    return frozenset(found)


def private(source: str) -> Iterator[str]:
    """The private names of Keras that a file holds, with their lines: as an attribute of anything but an object of our
    own, as a string, and `keras.src`."""
    yield from _inside(ast.parse(source), own=False)


def _inside(node: ast.AST, *, own: bool) -> Iterator[str]:
    """own: whether `self` is an object whose attributes are ours: in a class that none of Keras's is a base of."""
    for child in ast.iter_child_nodes(node):
        inside = own
        if isinstance(child, ast.ClassDef):
            inside = not any("keras" in ast.unparse(base) for base in child.bases)
        elif isinstance(child, ast.Attribute):
            mine = inside and isinstance(child.value, ast.Name) and child.value.id in ("self", "cls")
            if not mine and child.attr in names_of_keras():
                yield f"line {child.lineno}: {ast.unparse(child)}"
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            value = child.value
            if value.startswith("keras.src") or (value in names_of_keras() and value not in ENDINGS):
                yield f"line {child.lineno}: {value!r}"
        elif isinstance(child, ast.ImportFrom | ast.Import):
            modules = [alias.name for alias in child.names]
            if isinstance(child, ast.ImportFrom):
                modules = [f"{child.module}.{name}" for name in modules]
            yield from (f"line {child.lineno}: {name}" for name in modules if name.startswith("keras.src"))
        yield from _inside(child, own=inside)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_of_keras_are_in_their_module(path: Path):
    found = list(private(path.read_text(encoding="utf-8")))
    assert not found, f"to be reached through {HOME}: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "model._flatten_layers()",
        "x = layer._seed_generators",
        "getattr(optimizer, '_learning_rate', None)",
        "from keras.src import ops",
        "import keras.src.backend.jax.nn",
        "import sys; nn = sys.modules['keras.src.backend.torch.nn']",
        "def adam(self, gradient): return self._momentums",
        "class Own(keras.layers.Layer):\n    def call(self, x): return self._compute_dtype, self._losses",
        "class Own:\n    def look(self, model): return model._compile_loss",
        "names = {'Callback': ('_last_batch_seen',)}",
    ],
)
def test_a_private_name_is_noticed(line: str):
    assert list(private(line))


@pytest.mark.parametrize(
    "line",
    ["model.layers", "class Own:\n    def __init__(self): self._model, self._lock = None, None", "'_no_name_of_keras'"],
)
def test_what_is_not_private_to_keras_may_stand_anywhere(line: str):
    assert not list(private(line))


@pytest.mark.parametrize("path", sorted(ROOT.rglob(f"*/{HOME}")), ids=lambda path: path.parent.name)
def test_each_entry_says_why_it_is_needed(path: Path):
    """And so what happens without it: whoever meets another Keras begins to read here."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), node.name
