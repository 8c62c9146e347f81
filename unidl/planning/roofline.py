"""The time of a step, layer by layer: the longer of computing and of moving values through the memory.

Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unidl.machine.data_sheets import DataSheet
from unidl.planning.arithmetic import MATRIX_COLUMNS, column, compute_bytes, variable_bytes
from unidl.planning.assumed import Efficiency
from unidl.planning.costs import LayerCost, ModelCost
from unidl.precision_row import Precision

BOUNDS = ("computing", "bandwidth", "launches")
OPTIMIZER = "optimizer"


@dataclass(frozen=True)
class LayerTime:
    """Seconds of a step in a layer: in computing, in moving values (the longer of both counts), and in launching."""

    path: str
    kind: str
    flops: float
    moved_bytes: float
    compute_seconds: float
    traffic_seconds: float
    launch_seconds: float

    @property
    def seconds(self) -> float:
        """What the layer takes."""
        return max(self.compute_seconds, self.traffic_seconds) + self.launch_seconds

    @property
    def bound(self) -> str:
        """What limits it."""
        if self.launch_seconds > max(self.compute_seconds, self.traffic_seconds):
            return "launches"
        return "computing" if self.compute_seconds > self.traffic_seconds else "bandwidth"


def layer_times(
    cost: ModelCost,
    sheet: DataSheet,
    precision: Precision,
    batch_size: int,
    efficiency: Efficiency,
    *,
    training: bool = True,
) -> tuple[LayerTime, ...]:
    """Return the time of each layer, and of the optimizer's step."""
    name = column(precision)
    rate = sheet.flops_per_second(name)
    if rate is None:
        raise ValueError(f"{sheet.name} has no {name}")  # `why_not` says so before
    rate *= efficiency.matrix_units if name in MATRIX_COLUMNS else efficiency.float32
    bandwidth = sheet.bytes_per_second * efficiency.bandwidth
    found: list[LayerTime] = []
    for layer in cost.layers:
        factor = layer.factor if training else 1
        flops = batch_size * factor * layer.forward_flops
        moved = moved_bytes(layer, precision, batch_size, training=training)
        launches = factor * layer.steps if moved else 0
        found.append(
            LayerTime(
                layer.path,
                layer.kind,
                flops,
                moved,
                flops / rate,
                moved / bandwidth,
                launches * efficiency.launch_seconds,
            )
        )
    if training and cost.trainable:
        # Reads a weight, its gradient and the optimizer's values; writes all but the gradient.
        moved = (3 + 2 * cost.slots) * cost.trainable * variable_bytes(precision)
        found.append(
            LayerTime(OPTIMIZER, cost.optimizer, 0.0, moved, 0.0, moved / bandwidth, efficiency.launch_seconds)
        )
    return tuple(found)


def moved_bytes(layer: LayerCost, precision: Precision, batch_size: int, *, training: bool = True) -> float:
    """Return the bytes that a layer reads and writes in a step, each value once per pass, nothing fused."""
    value, variable = compute_bytes(precision), variable_bytes(precision)
    read, written = batch_size * layer.read * value, batch_size * layer.written * value
    weights = 0 if layer.rows_read else layer.parameters * (variable if value == variable else variable + 2 * value)
    if not layer.copies:
        return 0.0
    forward = read + written + weights
    if not training or layer.factor == 1:
        return forward
    # The gradient of the outputs is read, that of the inputs written, which needs the weights; those of the weights
    # need the gradient again, and the inputs.
    backward = written + read + (0 if layer.rows_read else layer.parameters * value)
    if layer.factor == 3:
        backward += read + layer.trainable * value + (written if layer.forward_flops else 0)
    return forward + backward


def shares(times: Sequence[LayerTime]) -> dict[str, float]:
    """Return for each bound the share of the step that is spent in layers with it."""
    total = sum(time.seconds for time in times) or 1.0
    return {bound: sum(time.seconds for time in times if time.bound == bound) / total for bound in BOUNDS}


def ridge_point(sheet: DataSheet, precision: Precision) -> float | None:
    """Return the operations per byte from which computing takes longer than moving, by the data sheet."""
    rate = sheet.flops_per_second(column(precision))
    return None if rate is None else rate / sheet.bytes_per_second
