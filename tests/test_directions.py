"""Who may import whom. Without this a change in one room is a change in ten, and no part can be read alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from imports import ADAPTERS, FRAMEWORKS, ROOT, circles, files, graph, imports, within

FLOORS: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {
        "words": ("errors", "notices", "out_of_memory", "paths", "shortening", "tables", "standing_in", "version"),
        "numbers": ("finite", "random", "statistics"),
        "Keras": ("keras_import", "keras_internals", "keras_places", "layer_paths", "model_reading"),
    },
    {
        "files": ("cache", "reports", "whole_files"),
        "functions": ("model_function",),
        "extras": ("hub",),
        "plugins": ("plugins",),
        "values": ("backend_values", "precision_row"),
    },
    {"machine": ("machine",)},
    {"seam": ("backend", "computes", "kernels", "logs", "model_state", "replacements", "roles", "sampling")},
    {"ranks": ("ranks",)},
    {"choice": ("devices", "fastest", "precision", "registry")},
    {"data": ("data",), "layers": ("layers",), "workers": ("workers",)},
    {"models": ("models",)},
    {"saving": ("saving",), "testing": ("testing",)},
    {"scale": ("scale",)},
    {"training": ("training",)},
    {"report": ("report",)},
    {"generation": ("generation", "generation_windows")},
    {"package": ("__init__",)},
    {"runs": ("runs",)},
    {"doctor": ("doctor",)},
    {"agreement": ("agreement",), "compare": ("compare",)},
    {"deploy": ("deploy",), "planning": ("planning",)},
    {"overview": ("overview",)},
    {"cli": ("cli",)},
    {"program": ("__main__",)},
)
"""The core, from the ground up: each floor has its rooms, and each room its packages and modules of `unidl`. A room
imports from those on lower floors alone. "__init__" is the package itself, whose names those above it use as anybody
does."""

SEAM = (
    "backend",
    "errors",
    "kernels",
    "keras_internals",
    "keras_places",
    "logs",
    "model_state",
    "replacements",
    "sampling",
)
"""The modules of the core that an adapter may import."""

ROOMS = {name: room for floor in FLOORS for room, names in floor.items() for name in names}
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
CORE = graph(ROOT, "unidl")


def room_of(module: str) -> str:
    parts = module.split(".")
    return ROOMS.get(parts[1] if len(parts) > 1 else "__init__", "no room")


def upward(arrows: Mapping[str, set[str]]) -> list[str]:
    """The imports that do not go down to a lower floor."""
    found: list[str] = []
    for module, others in arrows.items():
        for other in sorted(others):
            one, two = room_of(module), room_of(other)
            if one != two and HEIGHT.get(two, 0) >= HEIGHT.get(one, 0):
                found.append(f"{module} ({one}) imports {other} ({two})")
    return found


def test_every_module_has_a_room_and_every_room_its_modules():
    found = {module.partition(".")[2].partition(".")[0] or "__init__" for module in CORE}
    assert found == set(ROOMS)
    assert len(ROOMS) == sum(len(names) for floor in FLOORS for names in floor.values())


def test_rooms_import_from_lower_floors_only():
    assert upward(CORE) == []


def test_no_files_import_each_other_in_a_circle():
    assert circles(CORE) == []
    for name in ADAPTERS:
        assert circles(graph(ROOT / "backends", name)) == []


def test_an_import_upwards_is_found():
    assert upward({"unidl.registry": {"unidl.compare.summary"}}) == [
        "unidl.registry (choice) imports unidl.compare.summary (compare)"
    ]
    assert upward({"unidl.data.load": {"unidl.layers.dropout"}}) != []  # rooms of one floor
    assert upward({"unidl.training.trainer": {"unidl.training.runs", "unidl.errors"}}) == []
    assert upward({"unidl.saving.saved": {"unidl"}}) != []


def test_a_circle_is_found_where_it_is_hidden(tmp_path: Path):
    (tmp_path / "one").mkdir()
    for name, source in {
        "__init__": "",
        "a": "def f():\n    from one import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from one.c import C",
        "c": "import importlib\nimportlib.import_module('one.a')",
        "d": "from . import a",
    }.items():
        (tmp_path / "one" / f"{name}.py").write_text(source)
    assert circles(graph(tmp_path, "one")) == [["one.a", "one.b", "one.c"]]


def forbidden(source: str, package: str) -> list[str]:
    """The imports of a file that break the direction examples, cli -> unidl -> (entry point) -> adapter."""
    found = sorted(set(imports(source, package)))
    if package.startswith("examples"):
        allowed = {"unidl", "numpy", "scipy", "sklearn", "skimage", "keras", *sys.stdlib_module_names}
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


UNDER_THE_RULE = [*files(ROOT, "unidl"), *files(ROOT / "backends"), *files(ROOT, "examples")]


def test_the_rule_reads_the_files_it_is_about():
    packages = {package for _, package in UNDER_THE_RULE}
    assert {"unidl", "unidl.cli", "unidl_jax", "unidl_torch", "unidl_tensorflow"} <= packages


@pytest.mark.parametrize(
    ("path", "package"),
    [pytest.param(path, package, id=str(path.relative_to(ROOT))) for path, package in UNDER_THE_RULE],
)
def test_imports_go_in_one_direction(path: Path, package: str):
    assert forbidden(path.read_text(encoding="utf-8"), package) == []
