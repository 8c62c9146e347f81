"""`unidl plan --explain`: what Tensor Cores, bandwidth, ridge point and power limit mean for this model."""

from __future__ import annotations

from unidl.planning.arithmetic import MATRIX_COLUMNS, column
from unidl.planning.plan import Plan, Row
from unidl.planning.roofline import ridge_point, shares
from unidl.planning.wording import duration, gigabytes


def explanation(plan: Plan) -> list[str]:
    """Return paragraphs about the best GPU of a plan, or the first one if none can do the job."""
    if not plan.rows:
        return []
    row = plan.rows[plan.best or 0]
    found = [_rates(row), _bandwidth(plan, row), _power(row), _memory(plan, row)]
    return [paragraph for paragraph in found if paragraph]


def _rates(row: Row) -> str:
    sheet, name = row.sheet, column(row.precision)
    rate = getattr(sheet, name)
    if rate is None:
        return f"Matrix units: {sheet.name} has none for {row.precision.name}."
    if name not in MATRIX_COLUMNS:
        best = max((getattr(sheet, other) or 0.0) for other in MATRIX_COLUMNS)
        more = f" Its matrix units would give {best / rate:.1f} times that, in 16 bits or TF32." if best > rate else ""
        return (
            f"Matrix units: in {row.precision.name}, {sheet.name} computes with its ordinary units, {rate:g} TFLOP/s."
            f"{more}"
        )
    return (
        f"Matrix units: Tensor Cores (NVIDIA) and matrix cores (AMD) multiply small matrices at once. In "
        f"{row.precision.name} those of {sheet.name} give {rate:g} TFLOP/s, {rate / sheet.fp32_tflops:.1f} times its "
        f"{sheet.fp32_tflops:g} TFLOP/s in float32. Data sheets often print twice as much, for matrices half of which "
        "are zeros (sparsity); yours are not."
    )


def _bandwidth(plan: Plan, row: Row) -> str:
    ridge = ridge_point(row.sheet, row.precision)
    if ridge is None or not row.times:
        return ""
    flops = sum(time.flops for time in row.times)
    moved = sum(time.moved_bytes for time in row.times)
    found = shares(row.times)
    verdict = (
        "Computing takes longer than moving values in most of the step, so a GPU with more TFLOP/s helps."
        if found["computing"] > 0.5
        else "Moving values takes longer in most of the step, so a GPU with more bandwidth helps, and more TFLOP/s do "
        "not."
        if found["bandwidth"] > 0.5
        else "Most of the step is in kernels so short that starting them takes longer: use larger batches, or a "
        "smaller GPU."
        if found["launches"] > 0.5
        else "No single thing limits it."
    )
    return (
        f"Bandwidth and ridge point: the memory of {row.sheet.name} gives {row.sheet.bandwidth_gb_s:,g} GB/s. To keep "
        f"its units busy, a layer has to do {ridge:.0f} operations for each byte that it moves: the ridge point. This "
        f"model does {flops / moved:.0f} on average, in a step of {plan.job.batch_size} rows. {verdict}"
    )


def _power(row: Row) -> str:
    seconds = row.step_seconds
    said = f"Power limit: the board takes at most {row.sheet.power_watts:g} W, and lowers its clock to stay below that."
    if seconds is not None and row.rows_per_second:
        joules = row.sheet.power_watts / row.rows_per_second
        said += f" A row then takes at most {joules:.3g} J. All of it becomes heat that has to be cooled away."
    return said


def _memory(plan: Plan, row: Row) -> str:
    need = row.memory
    if need is None:
        return ""
    fixed = need.weights + need.gradients + need.optimizer
    growing = (need.activations + need.workspace) / plan.job.batch_size
    said = (
        f"Memory: {gigabytes(fixed)} for weights, gradients and optimizer, whatever the batch; {gigabytes(growing)} "
        f"more for each row. {row.sheet.memory_gb:g} GB hold batches of up to {row.largest_batch:,}."
    )
    return (
        said
        if row.step_seconds is None
        else said + f" A step of {plan.job.batch_size} takes {duration(row.step_seconds)}."
    )
