"""A plan as JSON values. Units are in the names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unidl.planning.plan import Plan, Row
from unidl.planning.roofline import ridge_point, shares


def to_json(plan: Plan) -> dict[str, Any]:
    """Return all of a plan, with the layers of the model and the source of each figure of a GPU."""
    job, cost = plan.job, plan.job.cost
    return {
        "model": cost.name,
        "parameters": cost.parameters,
        "trainable_parameters": cost.trainable,
        "optimizer": cost.optimizer,
        "training": job.training,
        "batch_size": job.batch_size,
        "rows": job.rows,
        "epochs": job.epochs,
        "steps": job.steps,
        "forward_flops_per_row": cost.forward_flops,
        "training_flops_per_row": cost.training_flops,
        "uncounted_layers": list(cost.uncounted),
        "layers": [asdict(layer) for layer in cost.layers],
        "gpus": [_row(row) for row in plan.rows],
        "best": None if plan.best is None else plan.rows[plan.best].sheet.name,
        "reason": plan.reason,
        "efficiency": asdict(plan.efficiency),
        "calibration": None if job.calibration is None else asdict(job.calibration),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "data_sheet": asdict(row.sheet),
        "precision": row.precision.name,
        "why_not": row.why_not,
        "memory_bytes": None if row.memory is None else {**asdict(row.memory), "total": row.memory.total},
        "largest_batch": row.largest_batch,
        "step_seconds": row.step_seconds,
        "rows_per_second": row.rows_per_second,
        "limited_by": row.bound,
        "shares_of_step": shares(row.times) if row.times else None,
        "ridge_flop_per_byte": ridge_point(row.sheet, row.precision),
        "layer_seconds": {time.path: time.seconds for time in row.times},
        "run_seconds": row.run_seconds,
        "run_kilowatt_hours_at_most": row.run_kilowatt_hours,
        "price_per_hour": row.price,
        "run_cost": row.run_cost,
        "cost_of_million_rows": row.cost_of_million_rows,
    }
