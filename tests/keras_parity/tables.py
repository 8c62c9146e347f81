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

SHORT = (
    "functional",
    "two inputs, two outputs",
    "mask of an embedding",
    "dropout",
    "2D convolutions",
    "LSTM with Adam",
    "SimpleRNN with Adam",
    "batch normalization",
    "a loss that counts",
    "AUC",
    "MeanIoU",
    "Nadam",
    "accumulated gradients",
    "ScheduleFreeAdamW",
    "own train_step",
    "own train_step on x alone",
    "own compute_loss",
    "add_loss",
    "layer that counts",
)
"""Those that plain `pytest` runs: of each kind the one that is quickest to break."""

if not CASES.keys() >= set(SHORT) or len(CASES) != sum(len(table.CASES) for table in TABLES):
    raise ValueError("two cases have the same name, or a short one has none")
