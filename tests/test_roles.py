"""Adapters whose methods take other arguments. Without this such a plugin fails hours into a run, with a TypeError that
names neither the plugin nor what to do."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest

from unidl import roles
from unidl.backend import Backend, Device, Devices, MemoryUse, TrainLoop, Trains


class Good:
    name = "good"

    def versions(self):
        return {}

    def devices(self):
        return Devices((Device("cpu"),))

    def on(self, device):
        return nullcontext()

    def precision(self, policy):
        return nullcontext()

    def synchronise(self, tree): ...

    def memory(self, device, reset=False):
        return MemoryUse(None, None)


class OtherName(Good):
    def on(self, where):
        return nullcontext()


class OneTooFew(Good):
    def memory(self, device):
        return MemoryUse(None, None)


class OneTooMany(Good):
    def synchronise(self, tree, stream): ...


class NoDefault(Good):
    def memory(self, device, reset):
        return MemoryUse(None, None)


class NotAMethod(Good):
    versions = {"mine": "1.0"}  # noqa: RUF012 - wrong on purpose


class Without(Good):
    precision = None


class TrainsByPlace(Good):
    def compile_loop(self, model, device, steps):
        return None


class TrainsByName(Good):
    def compile_loop(self, model, *, device, steps=None, more=1, **others):
        return None


@pytest.mark.parametrize("backend", [Good(), TrainsByName()], ids=lambda backend: type(backend).__name__)
def test_methods_that_take_the_calls_are_taken(backend):
    assert roles.why_not(backend) is None


@pytest.mark.parametrize(
    ("backend", "method", "what"),
    [
        (OtherName(), "OtherName has on(where)", "unidl calls on(device)"),
        (OneTooFew(), "OneTooFew has memory(device)", "unidl calls memory(device, reset=False)"),
        (OneTooMany(), "OneTooMany has synchronise(tree, stream)", "missing a required argument: 'stream'"),
        (NoDefault(), "NoDefault has memory(device, reset)", "missing a required argument: 'reset'"),
        (NotAMethod(), "NotAMethod has no method versions()", "which Backend requires"),
        (Without(), "Without has no method precision(policy)", "which Backend requires"),
        (
            TrainsByPlace(),
            "TrainsByPlace has compile_loop(model, device, steps)",
            "calls compile_loop(model, *,",
        ),
        (object(), "object has no attribute name", "which Backend requires"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_others_are_refused_with_method_and_arguments(backend, method, what):
    said = roles.why_not(backend)
    assert method in said
    assert what in said


def test_what_an_adapter_computes_is_not_asked_for():
    """Whether a loop compiles may take seconds to find out."""

    class Loop:
        steps_per_dispatch = 1
        follows_values = follows_variables = True

        @property
        def why_not_compiled(self):
            raise RuntimeError("asked for")

        def run(self, chunk): ...
        def test(self, chunk): ...
        def predict(self, chunk): ...
        def reset_metrics(self): ...
        def commit(self): ...

    assert roles.why_not_as(Loop(), TrainLoop) is None


def test_the_adapter_under_test_is_taken(backend):
    assert roles.why_not(backend) is None


def test_the_calls_are_those_of_the_protocols():
    """What is compared are the protocols themselves, so that they cannot say one thing and the check another."""
    assert "(device, reset=False)" in str(roles.why_not(OneTooFew()))
    assert list(inspect.signature(Trains.compile_loop).parameters) == ["self", "model", "device", "steps"]
    assert {"versions", "devices", "on", "precision", "synchronise", "memory"} <= vars(Backend).keys()
