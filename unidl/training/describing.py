"""What a training is, in words and as values that are kept with it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unidl.backend import kernels_off

if TYPE_CHECKING:
    from unidl.training.trainer import Trainer


def title(trainer: Trainer, framework: str) -> str:
    """Return the line that a run begins with. framework: its name and version."""
    model, device = trainer.model, trainer.device
    # Keras counts the parameters of built models only; one with a step of its own and no call is never built.
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    return (
        f"{model.name}: {parameters:,} parameters, {framework} on "
        f"{device.name if device.kind == 'gpu' else device.id} ({trainer.placement.reason}), {trainer.precision.name}"
    )


def description(trainer: Trainer) -> dict[str, Any]:
    """Return what somebody needs to know to repeat a training, as JSON values."""
    return {
        "backend": trainer.backend.name,
        "versions": trainer.backend.versions(),
        "device": asdict(trainer.device),
        "device_reason": trainer.placement.reason,
        "precision": trainer.precision.name,
        "seed": trainer.seed,
        "kernels_off": [asdict(one) for one in kernels_off(trainer.backend, trainer.device)],
        "fit": asdict(trainer.settings) if trainer.settings is not None else None,
    }
