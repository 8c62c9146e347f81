"""Certificates read back from the JSON that a verification wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unidl.agreement.certificate import FORMAT, Certificate, Check, Trial
from unidl.agreement.verdicts import Difference, Layer


def certificates_in(values: Any) -> tuple[Certificate, ...]:
    """Return the certificates of a certificate.json. Raises KeyError, TypeError or ValueError for other values."""
    if not isinstance(values, list) or not values:
        raise ValueError("it is not a list of certificates")
    return tuple(map(_certificate, values))


def _certificate(values: Mapping[str, Any]) -> Certificate:
    if values["format"] != FORMAT:
        raise ValueError(f"it has format {values['format']!r}, but this version of unidl reads {FORMAT}")
    parts = {
        "layers": tuple(Layer(**_known(Layer, layer)) for layer in values["layers"]),
        "silenced": tuple(values["silenced"]),
        "checks": tuple(Check(**_run(Check, check)) for check in values["checks"]),
        "trials": tuple(Trial(**_run(Trial, trial)) for trial in values["trials"]),
    }
    return Certificate(**{**_known(Certificate, values), **parts})


def _run(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return _known(kind, values) | {"differences": tuple(map(_difference, values["differences"]))}


def _difference(values: Mapping[str, Any]) -> Difference:
    """Return a difference; one that was not finite is null in JSON."""
    error = float("inf") if values["error"] is None else values["error"]
    return Difference(**{**_known(Difference, values), "error": error})


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields of a dataclass; what is derived from them is left out."""
    return {field.name: values[field.name] for field in fields(kind)}
