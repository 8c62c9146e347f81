"""Attributes of Keras that stand aside for a while. Without this a model that failed would leave Keras changed for the
rest of the process, and every number after it would be another one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from unidl.standing_in import put, standing_in


def test_what_stood_there_comes_back_also_after_an_error():
    owner, seen = SimpleNamespace(one=1, two=2), []

    @standing_in((owner, "one", 10), (owner, "two", 20))
    def fail() -> None:
        seen.extend((owner.one, owner.two))
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [10, 20]
    assert (owner.one, owner.two) == (1, 2)


def test_an_attribute_that_is_named_twice_comes_back():
    owner = SimpleNamespace(one=1)
    with standing_in((owner, "one", 10), (owner, "one", 100)):
        assert owner.one == 100
    assert owner.one == 1


def test_what_is_put_stays_and_what_stood_there_is_known():
    owner = SimpleNamespace(one=1)
    assert put((owner, "one", 10)) == [1]
    assert owner.one == 10


def test_an_attribute_that_is_not_there_is_an_error_and_changes_nothing():
    owner = SimpleNamespace(one=1)
    with pytest.raises(AttributeError, match="two"), standing_in((owner, "one", 10), (owner, "two", 20)):
        pass
    assert vars(owner) == {"one": 1}
