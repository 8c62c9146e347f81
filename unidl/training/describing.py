"""Description of a training run, as text and as recorded values."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unidl.backend import Backend, kernels_off
from unidl.devices import Placement
from unidl.training.settings import FitSettings

if TYPE_CHECKING:
    import keras

OF_LAYERS = ("rate_factors", "layer_decay")
"""The settings that are about learning rates of layers."""


def title(model: keras.Model, framework: str, placement: Placement, precision: str) -> str:
    """Return the first line of a run. framework: its name and version."""
    device = placement.device
    # Keras counts only parameters of built models; a model with a custom step and no call is never built.
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    return (
        f"{model.name}: {parameters:,} parameters, {framework} on "
        f"{device.name if device.kind == 'gpu' else device.id} ({placement.reason}), {precision}"
    )


def description(
    backend: Backend, placement: Placement, *, precision: str, seed: int, settings: FitSettings | None
) -> dict[str, Any]:
    """Return what is needed to reproduce a training run, as JSON values."""
    return {
        "backend": backend.name,
        "versions": backend.versions(),
        "device": asdict(placement.device),
        "device_reason": placement.reason,
        "precision": precision,
        "seed": seed,
        "kernels_off": [asdict(one) for one in kernels_off(backend, placement.device)],
        "fit": None if settings is None else _said(settings),
    }


def _said(settings: FitSettings) -> dict[str, Any]:
    """The settings; learning rates of layers only where there are some."""
    values = asdict(settings)
    return {name: value for name, value in values.items() if value is not None or name not in OF_LAYERS}
