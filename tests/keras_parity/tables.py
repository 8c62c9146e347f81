"""All cases."""

from __future__ import annotations

import cases_attention
import cases_convolutions
import cases_corrected
import cases_custom
import cases_losses
import cases_metrics
import cases_optimizers
import cases_recurrent
import cases_shapes

TABLES = (
    cases_shapes,
    cases_convolutions,
    cases_recurrent,
    cases_attention,
    cases_losses,
    cases_metrics,
    cases_optimizers,
    cases_custom,
    cases_corrected,
)
CASES = {case.name: case for table in TABLES for case in table.CASES}
SHORT = {name: case for name, case in CASES.items() if case.short}

if len(CASES) != sum(len(table.CASES) for table in TABLES):
    raise ValueError("two cases have the same name")
