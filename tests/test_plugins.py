"""Plugins of other distributions: one that is broken says which it is and why, and leaves the others usable.

Without this a package that somebody installed last year stops every `unidl` command, with a traceback of its own.
"""

from __future__ import annotations

import sys

import plugged
import pytest

from unidl import plugins
from unidl.backend import Device
from unidl.errors import DataError, UsageError

SOURCE = """
from unidl.backend import Device
GOOD = Device("gpu", 7, "plugged")
WRONG = {"a": "dict"}
"""
ENTRIES = """good = added:GOOD
wrong = added:WRONG
absent = added:ABSENT
missing = no_such_module:VALUE"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    plugged.install(tmp_path, SOURCE, tested=ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("added", None)


def test_what_is_installed_is_listed_without_importing_it():
    assert list(plugins.found("unidl.tested")) == ["good", "wrong", "absent", "missing"]
    assert "added" not in sys.modules
    assert plugins.found("unidl.nothing") == {}


def test_one_is_loaded_by_its_name():
    assert plugins.load("unidl.tested", "good", Device) == Device("gpu", 7, "plugged")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong", r"added:WRONG \(distribution added\) must be a unidl\.backend_values\.Device, but is a dict"),
        ("absent", r"added:ABSENT cannot be loaded \(distribution added\): AttributeError: .*ABSENT'"),
        ("missing", r"no_such_module:VALUE cannot be loaded \(distribution added\): ModuleNotFoundError: .*"),
    ],
)
def test_one_that_cannot_be_loaded_says_which_and_why(name, reason):
    with pytest.raises(DataError, match=f"^Cannot use the plugin '{name}' of the group unidl.tested: {reason}\\.$"):
        plugins.load("unidl.tested", name, Device, error=DataError)
    values, broken = plugins.load_all("unidl.tested", Device)
    assert list(values) == ["good"]
    assert list(broken) == ["wrong", "absent", "missing"]


def test_one_that_is_not_installed_says_which_are():
    with pytest.raises(UsageError, match=r"group unidl\.tested is named 'gud'\. Installed: 'good', 'wrong', "):
        plugins.load("unidl.tested", "gud", Device)
    with pytest.raises(UsageError, match=r"group unidl\.nothing is named 'gud'\. Installed: none\."):
        plugins.load("unidl.nothing", "gud", Device)


def test_the_first_on_the_path_is_taken_where_two_have_one_name(tmp_path, monkeypatch):
    plugged.install(tmp_path / "other", "GOOD = 3\n", name="shadowed", tested="good = shadowed:GOOD")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "other")])
    assert plugins.load("unidl.tested", "good", Device).name == "plugged"
    assert plugins.load_all("unidl.tested", Device)[0].keys() == {"good"}
