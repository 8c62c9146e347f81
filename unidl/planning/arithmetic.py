"""Which figures of a data sheet belong to a precision."""

from __future__ import annotations

from unidl.machine.data_sheets import DataSheet
from unidl.precision import named
from unidl.precision_row import Precision

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
COLUMNS = {"bfloat16": "bf16_tflops", "float16": "fp16_tflops"}
MATRIX_COLUMNS = ("bf16_tflops", "fp16_tflops", "tf32_tflops")


def column(precision: Precision) -> str:
    """Return the rate of a data sheet at which matrix products run."""
    if precision.compute_dtype in COLUMNS:
        return COLUMNS[precision.compute_dtype]
    return "tf32_tflops" if precision.tf32 else "fp32_tflops"


def why_not(precision: Precision, sheet: DataSheet) -> str | None:
    """Return why a GPU cannot compute in a precision, as a clause; None if it can."""
    name = column(precision)
    if getattr(sheet, name) is not None:
        return None
    what = {"bf16_tflops": "bfloat16", "fp16_tflops": "float16", "tf32_tflops": "TF32"}[name]
    return f"it has no units for {what}"


def automatic(sheet: DataSheet) -> Precision:
    """Return what "auto" means on a GPU: mixed bfloat16 where it has units for it, else mixed float16, else float32."""
    for name in ("mixed_bfloat16", "mixed_float16"):
        if why_not(named(name), sheet) is None:
            return named(name)
    return named("float32")


def compute_bytes(precision: Precision) -> int:
    """Return the bytes of a value in the dtype in which layers compute."""
    return BYTES[precision.compute_dtype]


def variable_bytes(precision: Precision) -> int:
    """Return the bytes of a weight."""
    return BYTES[precision.variable_dtype]
