"""The numbers of a plan that no data sheet has: what share of its rates a GPU reaches, and what is taken beside them.

Every one says where it is from. They are the same for every GPU and model, so that a plan cannot be tuned to one of
them; how far predictions are from published runs is in `unidl.planning.published`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Efficiency:
    """Shares of the rates of a data sheet, from 0 to 1, and the time to start a kernel.

    matrix_units: of Tensor Cores and AMD's matrix cores, in 16 bits and TF32; float32: of the other units; bandwidth:
    of the memory. launch_seconds: for each pass over a layer, and for each time step of a recurrent one. origin: where
    the shares are from; error: how far times are from measured ones, in words.
    """

    matrix_units: float
    float32: float
    bandwidth: float
    launch_seconds: float
    origin: str
    error: str


PUBLISHED = Efficiency(
    matrix_units=0.40,
    float32=0.80,
    bandwidth=0.65,
    launch_seconds=5e-6,
    origin="shares fitted to six published runs on the A100 and the V100, the same for all GPUs; launches assumed",
    error="26 published runs: median error 16%, largest 79% (benchmarks/plan.md)",
)
"""Used unless figures of this machine are given."""

RESERVED_BYTES = 0.6e9
"""Memory that CUDA's context and the libraries' own buffers take before a model. Assumed; drivers differ by a few
hundred MB."""
SLACK = 0.05
"""Share of the memory that is lost to gaps between blocks. Assumed; it keeps "fits" on the safe side."""
