"""The docstrings of public names. Without this a person reads of an argument that is gone, searches for one that nobody
described, or pastes an example that fails."""

from __future__ import annotations

import doctest
import io
from collections.abc import Callable
from typing import Any

import pytest
from docstrings import Public, parse, problems, public

from unidl import registry

PUBLIC = {one.name: one for one in public()}

WITHOUT_EXAMPLE = {
    "unidl.testing.BackendConformance": "it is subclassed, as the docstring of its module shows; its methods are tests",
    "unidl.testing.LinearCase.": "its methods are for the tests of the suite",
    "unidl.backend.Backend": "an adapter implements it: backends/README.md shows how",
    "unidl.backend.Trains": "the same",
    "unidl.backend.Distributes": "the same",
    "unidl.backend.Share": "the same",
    "unidl.backend.TrainLoop": "the same",
    "unidl.backend.Logs": "the same",
    "unidl.backend.Kernels": "the same",
    "unidl.backend.Native": "the same",
    "unidl.backend.Exports": "the same",
    "unidl.backend.Profiles": "the same",
    "unidl.backend.Reference": "the same",
    "unidl.backend_values.Task": "the comparison makes it for a reference",
    "unidl.backend_values.KernelOff": "an adapter's replacements make it",
    "unidl.backend.Adapter": "backends/README.md has a whole one",
    "unidl.registry.BackendStatus": "`unidl.backends` gives it, whose example shows it",
}
"""Public names without an example, by how they begin, and why."""


def example(one: Public) -> doctest.DocTest:
    return doctest.DocTestParser().get_doctest(one.text, {}, one.name, None, None)


def run(one: Public) -> str:
    """Run the example of a docstring; return what went otherwise than it says, nothing if it is true."""
    told = io.StringIO()
    doctest.DocTestRunner(verbose=False).run(example(one), out=told.write)
    return told.getvalue()


def needs_example(one: Public) -> bool:
    """A function or class needs one of its own; a method is shown there or in the example of its class."""
    if isinstance(one.value, type) and issubclass(one.value, Exception):
        return one.name == "unidl.UnidlError"
    if one.owner is None:
        return True
    if not callable(one.called):
        return False
    shown = "".join(base.__doc__ or "" for base in one.owner.__mro__ if base.__module__.startswith("unidl"))
    return f".{one.name.rpartition('.')[2]}(" not in shown


def excused(name: str) -> bool:
    return any(name == other or name.startswith(f"{other.rstrip('.')}.") for other in WITHOUT_EXAMPLE)


def test_the_public_names_are_found():
    assert {"unidl.Trainer", "unidl.Trainer.fit", "unidl.Trainer.device", "unidl.Split.is_streamed"} <= PUBLIC.keys()
    assert {"unidl.build_cnn", "unidl.layers.RandomFlip", "unidl.precision.resolve"} <= PUBLIC.keys()
    assert {"unidl.backend.TrainLoop.commit", "unidl.errors.DataError"} <= PUBLIC.keys()
    assert "unidl.layers.Dropout.call" not in PUBLIC, "Keras says what every layer has"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_is_complete(name: str):
    assert problems(PUBLIC[name]) == []


def test_every_name_has_an_example_or_a_reason():
    lacking = [name for name, one in PUBLIC.items() if needs_example(one) and not example(one).examples]
    assert [name for name in lacking if not excused(name)] == []
    for prefix in WITHOUT_EXAMPLE:
        assert any(excused(name) for name in lacking if name.startswith(prefix)), f"{prefix} needs no reason"


@pytest.mark.parametrize("name", [name for name, one in PUBLIC.items() if example(one).examples])
def test_an_example_is_true(name: str, backend: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry._selection, "requested", registry._selection.requested)
    monkeypatch.setattr(registry._selection, "source", registry._selection.source)
    assert run(PUBLIC[name]) == ""


def test_examples_import_unidl_before_keras():
    """The other way round Keras takes a framework by itself, and the example runs on that or fails."""
    imports = "import keras\n"
    late = [
        name
        for name, one in PUBLIC.items()
        if imports in one.text.partition("import unidl")[0].partition("from unidl")[0]
    ]
    assert late == []


def planted(first: int, *, second: int = 0) -> int:
    """Add two numbers.

    Args:
        first: One number.
        second: Another one.

    Returns:
        The sum.

    Raises:
        DataError: Never.

    Examples:
        >>> 1 + 1
        2
    """
    return first + second


def with_docstring(change: Callable[[str], str]) -> Public:
    """The function above with another docstring."""

    def copy(first: int, *, second: int = 0) -> int:
        return planted(first, second=second)

    copy.__doc__ = change(str(planted.__doc__))
    return Public("planted", copy)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("        second: Another one.\n", "", "second is in its signature and not in Args"),
        ("second:", "third:", "third is in Args and not in its signature"),
        ("first: One number.\n        second:", "second: One number.\n        first:", "Args has another order"),
        ("Returns:\n        The sum.", "", "Returns is missing"),
        ("Args:", "Parameters:", "there is no section 'Parameters'"),
        ("DataError", "DatumError", "it raises DatumError, which is no error"),
        ("Add two numbers.", "Add two\n    numbers.", "its docstring must begin with a sentence in one line"),
        ("        The sum.\n", "", "Returns is empty"),
    ],
)
def test_a_wrong_docstring_is_found(old: str, new: str, problem: str):
    assert problems(with_docstring(lambda text: text)) == []
    found = problems(with_docstring(lambda text: text.replace(old, new)))
    assert any(problem in one for one in found), found


def test_a_wrong_example_is_found():
    assert run(with_docstring(lambda text: text)) == ""
    assert "Expected:\n    3\nGot:\n    2" in run(
        with_docstring(lambda text: text.replace("        2\n", "        3\n"))
    )


def test_items_of_several_lines_are_read_as_one():
    parsed = parse("Do.\n\nArgs:\n    one: The first\n        of two.\n    two (int): The second.\n\nAnd this.")
    assert parsed.named("Args") == ["one", "two"]
    assert parsed.sections["Args"][0] == "one: The first of two."
