"""The distribution, from outside the repository: what a person gets who installs it. Run by tox's wheel environment,
which puts the built files into the current folder's `dist`."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST = "pip install '.[jax]' && unidl train cnn"
"""The README's first command."""


@pytest.fixture(scope="module")
def built() -> Path:
    return Path("dist").resolve()


@pytest.fixture(scope="module")
def names(built) -> set[str]:
    [wheel] = built.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_core_and_the_adapters_with_their_types(names):
    """Without py.typed a type checker takes every function of ours for unknown."""
    for package in ("unidl", "unidl_jax", "unidl_torch", "unidl_tensorflow"):
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert "unidl/testing/__init__.py" in names
    assert {"unidl/machine/gpus.toml", "unidl/planning/published.toml"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_else(names):
    """A top-level folder called tests or examples would shadow somebody's own."""
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "unidl",
        "unidl_jax",
        "unidl_torch",
        "unidl_tensorflow",
    }


def test_the_first_command_of_the_readme_in_a_fresh_environment(built, tmp_path):
    """Pasted as it stands, in the unpacked source distribution, with nothing installed but Python."""
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    subprocess.run(["python", "-m", "venv", str(tmp_path / "fresh")], check=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("UNIDL", "KERAS", "PYTHON"))
    }
    environment |= {
        "PATH": f"{tmp_path / 'fresh' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_COMPILE": "0",  # Python compiles what it imports; all of the packages would take half a minute
    }
    done = subprocess.run(
        ["bash", "-c", FIRST], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test: loss" in done.stdout
    assert (folder / "runs/cnn/weights.safetensors").exists()
