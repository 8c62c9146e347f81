"""The memory of a training step and of inference, from the shapes of a model."""

from __future__ import annotations

from dataclasses import dataclass

from unidl.planning.arithmetic import BYTES, compute_bytes, variable_bytes
from unidl.planning.assumed import RESERVED_BYTES, SLACK
from unidl.planning.calibration import Calibration
from unidl.planning.costs import ModelCost
from unidl.precision_row import Precision


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes at the peak. weights: with their copies in 16 bits in mixed precision; activations: what the backward pass
    needs, or in inference the largest input and output of a layer; workspace: gradients of activations. With a
    calibration, activations are all that a framework takes beside the rest."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    workspace: float

    @property
    def total(self) -> float:
        """All of it, without what a framework reserves."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.workspace


def memory_need(
    cost: ModelCost,
    precision: Precision,
    batch_size: int,
    *,
    training: bool = True,
    calibration: Calibration | None = None,
) -> MemoryNeed:
    """Return the memory that a batch takes. calibration: what a framework has been seen to take in training."""
    value, variable = compute_bytes(precision), variable_bytes(precision)
    weights = float(cost.parameters * variable)
    if value != variable:
        weights += cost.parameters * value
    widest = max((layer.read + layer.written for layer in cost.layers if layer.copies), default=0)
    if not training:
        return MemoryNeed(weights, 0.0, 0.0, float(batch_size * widest * value), 0.0)
    gradients, slots = float(cost.trainable * variable), float(cost.slots * cost.trainable * variable)
    if calibration is not None:
        beside = calibration.bytes(batch_size) * value / BYTES["float32"]
        return MemoryNeed(weights, gradients, slots, max(0.0, beside - gradients), 0.0)
    learning = [layer for layer in cost.layers if layer.copies and layer.factor > 1]
    widest_learning = max((layer.read + layer.written + layer.inner for layer in learning), default=0)
    kept = sum(layer.kept for layer in cost.layers)
    frozen_front = 0 if len(learning) == len(cost.layers) else widest - widest_learning
    return MemoryNeed(
        weights,
        gradients,
        slots,
        float(batch_size * kept * value),
        float(batch_size * max(widest_learning, frozen_front) * value),
    )


def usable_bytes(memory_bytes: float) -> float:
    """Return what a GPU's memory leaves for a model."""
    return max(0.0, (memory_bytes - RESERVED_BYTES) * (1 - SLACK))


def largest_batch(
    cost: ModelCost,
    precision: Precision,
    memory_bytes: float,
    *,
    training: bool = True,
    calibration: Calibration | None = None,
) -> int:
    """Return the largest batch that fits; 0 if none does."""
    far = 2**20  # where no term is cut off at 0
    needs = [memory_need(cost, precision, size, training=training, calibration=calibration).total for size in (1, far)]
    one, two = needs[0], needs[0] + (needs[1] - needs[0]) / (far - 1)
    room = usable_bytes(memory_bytes) - one
    return 0 if room < 0 else 1 + int(room // max(1.0, two - one))
