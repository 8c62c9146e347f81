"""A plan in words: the table of GPUs, the memory in each precision, and where the figures are from."""

from __future__ import annotations

from unidl.planning.assumed import RESERVED_BYTES, SLACK
from unidl.planning.calibration import Calibration
from unidl.planning.costs import ModelCost
from unidl.planning.memory import memory_need
from unidl.planning.plan import Plan, Row
from unidl.precision import named
from unidl.tables import Table

BEST = "*"
PRECISIONS = ("float32", "mixed_bfloat16", "bfloat16")
"""The precisions of the table of memory; float16 takes as much as bfloat16."""
NOT = {"memory": "does not fit", "units": "no such units"}
BOUNDS = {"computing": "computing", "bandwidth": "bandwidth", "launches": "kernel starts"}


def gpu_table(plan: Plan) -> Table:
    """Return the GPUs in rows, the best in bold."""
    with_run = plan.job.steps is not None
    with_price = any(row.price is not None for row in plan.rows)
    headings = ["GPU", "precision", "needs", "max batch", "step", "rows/s", "limited by"]
    headings += ["run", "energy"] if with_run else []
    headings += ["cost" if with_run else "cost of 10^6 rows"] if with_price else []
    cells: list[tuple[str, ...]] = []
    for place, row in enumerate(plan.rows):
        mark = f" {BEST}" if place == plan.best else ""
        found = [f"{row.sheet.name}{mark}", row.precision.name, *_figures(row)]
        if with_run:
            found += [duration(row.run_seconds), energy(row.run_kilowatt_hours)]
        if with_price:
            cost = row.run_cost if with_run else row.cost_of_million_rows
            found.append("" if cost is None else f"{cost:,.2f}" if cost >= 1 else f"{cost:.3g}")
        cells.append(tuple(found))
    bold = tuple(place == plan.best for place in range(len(plan.rows)))
    return Table(tuple(headings), tuple(cells), bold)


def _figures(row: Row) -> list[str]:
    needs = "" if row.memory is None else gigabytes(row.memory.total)
    most = f"{row.largest_batch:,}" if row.largest_batch else "none"
    if row.why_not is not None:
        return [needs, most, "", "", NOT[row.cannot or "memory"]]
    return [
        needs,
        most,
        duration(row.step_seconds),
        f"{row.rows_per_second:,.0f}",
        BOUNDS[row.bound or "computing"],
    ]


def memory_table(cost: ModelCost, batch_size: int, calibration: Calibration | None = None) -> Table:
    """Return the memory of training and of inference in each precision, by what it is for."""
    headings = ("memory", "precision", "weights", "gradients", "optimizer", "activations", "workspace", "all")
    rows: list[tuple[str, ...]] = []
    for training in (True, False):
        for name in PRECISIONS:
            need = memory_need(cost, named(name), batch_size, training=training, calibration=calibration)
            parts = (need.weights, need.gradients, need.optimizer, need.activations, need.workspace, need.total)
            title = "training" if training else "inference"
            rows.append((title, name, *(gigabytes(part) for part in parts)))
    return Table(headings, tuple(rows), (False,) * len(rows))


def subject_line(plan: Plan) -> str:
    """Describe what is planned in one line."""
    job, cost = plan.job, plan.job.cost
    flops = cost.training_flops if job.training else cost.forward_flops
    what = "training step" if job.training else "forward pass"
    line = (
        f"{cost.name}: {cost.parameters:,} parameters, {flops * job.batch_size:.3g} operations in a {what} of "
        f"{job.batch_size} rows"
    )
    if job.rows is not None:
        line += f"; {job.rows:,} rows"
    if job.steps is not None:
        line += f", {job.epochs} {'epoch' if job.epochs == 1 else 'epochs'}, {job.steps:,} steps"
    return line


def origins(plan: Plan) -> list[str]:
    """Return where each figure is from, and how far it may be off."""
    sheets = {name for row in plan.rows for name in row.sheet.derived}
    lines = [
        "operations, bytes: derived from the shapes of the layers; those of matrix products, convolutions, recurrent "
        "layers and attention, as `unidl compare` counts them",
        f"memory: {_memory_origin(plan.job.calibration)}. Largest batch: leaves "
        f"{RESERVED_BYTES / 1e9:g} GB for the driver and {SLACK:.0%} for gaps (assumed)",
        f"step: derived, the longer of computing and moving bytes in each layer; data sheets' rates times "
        f"{plan.efficiency.matrix_units:g} (matrix units), {plan.efficiency.float32:g} (float32) and "
        f"{plan.efficiency.bandwidth:g} (bandwidth), {plan.efficiency.launch_seconds * 1e6:g} µs for each pass over a "
        f"layer; {plan.efficiency.origin}; {plan.efficiency.error}",
        "energy: derived, at the power limit of the board, so at most that",
        "rates, bandwidth, memory, power: data sheets, as of "
        f"{max((row.sheet.as_of for row in plan.rows), default='')}; --json gives the source of each",
    ]
    if sheets:
        lines.append("derived or not confirmed in data sheets: " + ", ".join(_derived(plan)))
    if plan.job.cost.uncounted:
        lines.append(
            f"not counted, so that times are too short: the operations of {', '.join(plan.job.cost.uncounted)}, layers "
            "of an unknown kind"
        )
    return lines


def _memory_origin(calibration: Calibration | None) -> str:
    if calibration is None:
        return (
            "derived from the shapes: each value that a backward pass needs once, and the gradients of the widest "
            "layer. Within 4% of what PyTorch takes for the LSTM and the transformer; XLA, which JAX compiles with, "
            "takes 11 to 15% more for the LSTM and 1.9 times that for the transformer, whose intermediate values it "
            "also keeps (benchmarks/plan.md): --calibrate counts it"
        )
    small, large = calibration.batches
    return (
        f"activations {calibration.how} with {calibration.backend} on this machine's CPU in float32, for batches of "
        f"{small:,} and {large:,}, and continued from there; half of it in 16 bits (derived); weights, gradients and "
        "optimizer derived from the shapes"
    )


def _derived(plan: Plan) -> list[str]:
    return [f"{row.sheet.name} ({', '.join(row.sheet.derived)})" for row in plan.rows if row.sheet.derived]


def layer_table(row: Row, most: int = 20) -> Table:
    """Return the layers of a step that take the most time on a GPU."""
    total = row.step_seconds or 1.0
    ordered = sorted(row.times, key=lambda time: time.seconds, reverse=True)[:most]
    cells = [
        (
            time.path,
            time.kind,
            f"{time.flops / 1e9:,.2f}",
            f"{time.moved_bytes / 1e6:,.1f}",
            f"{time.flops / time.moved_bytes:,.1f}" if time.moved_bytes else "",
            duration(time.seconds),
            f"{time.seconds / total:.1%}",
            BOUNDS[time.bound],
        )
        for time in ordered
    ]
    headings = ("layer", "kind", "GFLOP", "MB", "FLOP/byte", "time", "share", "limited by")
    return Table(headings, tuple(cells), (False,) * len(cells))


def duration(seconds: float | None) -> str:
    """Return a duration in a unit that suits it; "" for None."""
    if seconds is None:
        return ""
    for limit, unit, name in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if seconds < limit:
            return f"{seconds * unit:.3g} {name}"
    return f"{seconds / 3600:,.1f} h"


def energy(kilowatt_hours: float | None) -> str:
    """Return an energy in a unit that suits it; "" for None."""
    if kilowatt_hours is None:
        return ""
    return f"{kilowatt_hours * 1000:.3g} Wh" if kilowatt_hours < 1 else f"{kilowatt_hours:,.1f} kWh"


def gigabytes(size: float) -> str:
    """Return a size in MB or GB of 10^6 and 10^9 bytes, as data sheets do."""
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
