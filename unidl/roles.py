"""Check that the methods of an adapter accept unidl's calls, when it is loaded instead of during a run."""

from __future__ import annotations

import inspect
from typing import Any

from unidl.backend import Backend, Distributes, Exports, Kernels, Native, Profiles, Trains

OPTIONAL = (Trains, Distributes, Kernels, Native, Exports, Profiles)
"""The optional roles of an adapter; each is implemented completely or not at all."""


def why_not(backend: Any) -> str | None:
    """Return why an adapter's backend cannot be used, naming the method and its arguments; None if it can."""
    reason = why_not_as(backend, Backend)
    for role in OPTIONAL:
        if reason is None and any(hasattr(backend, method) for method in _methods(role)):
            reason = why_not_as(backend, role)
    return reason


def why_not_as(value: Any, protocol: Any) -> str | None:
    """Return why a value does not implement a protocol of `unidl.backend`; None if it does."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    for attribute in vars(protocol).get("__annotations__", {}):
        # The value is not read, since some adapters compute it on access.
        if attribute not in getattr(value, "__dict__", {}) and not hasattr(type(value), attribute):
            return f"{kind} has no attribute {attribute}, which {protocol.__name__} requires"
    for name, wanted in _methods(protocol).items():
        method = getattr(value, name, None)
        if not callable(method):
            return f"{kind} has no method {name}{_written(wanted)}, which {protocol.__name__} requires"
        try:
            given = inspect.signature(method)
        except (TypeError, ValueError) as error:
            return f"the arguments of {kind}.{name} cannot be read: {error}"
        problem = _mismatch(given, wanted)
        if problem is not None:
            return f"unidl calls {name}{_written(wanted)}, but {kind} has {name}{_written(given)}: {problem}"
    return None


def _methods(protocol: Any) -> dict[str, inspect.Signature]:
    """Return the signatures of a protocol's methods by name."""
    found: dict[str, inspect.Signature] = {}
    for name, value in vars(protocol).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            signature = inspect.signature(value)
            found[name] = signature.replace(parameters=list(signature.parameters.values())[1:])
    return found


def _mismatch(given: inspect.Signature, wanted: inspect.Signature) -> str | None:
    """Return why one signature does not accept the calls of another; None if it accepts all."""
    names = list(wanted.parameters)
    by_place = [name for name in names if wanted.parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    by_name = [name for name in names if name not in by_place]
    needed = [name for name in names if wanted.parameters[name].default is inspect.Parameter.empty]
    for places, keywords in ((by_place, by_name), ((), names), ((), needed)):
        try:
            given.bind(*places, **dict.fromkeys(keywords))
        except TypeError as error:
            return str(error)
    return None


def _written(signature: inspect.Signature) -> str:
    """Format the arguments without types."""
    empty = inspect.Parameter.empty
    bare = [parameter.replace(annotation=empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
