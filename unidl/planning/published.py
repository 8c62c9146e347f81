"""Published speeds, and how far predictions are from them."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unidl.machine.data_sheets import chosen, data_sheets
from unidl.planning.assumed import PUBLISHED, Efficiency
from unidl.planning.costs import ModelCost
from unidl.planning.roofline import layer_times
from unidl.precision import named

FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class PublishedRun:
    """One speed on one GPU. use: "fit" if the shares of `unidl.planning.assumed` were fitted to it, else "check"."""

    gpu: str
    model: str
    precision: str
    batch_size: int
    rows_per_second: float
    training: bool
    use: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A published speed beside the predicted one. error: of the predicted one, as a share of the published one."""

    run: PublishedRun
    predicted_rows_per_second: float

    @property
    def error(self) -> float:
        """How far it is off; above 0 where too fast."""
        return self.predicted_rows_per_second / self.run.rows_per_second - 1


def published_runs() -> tuple[PublishedRun, ...]:
    """Return the runs of `published.toml`."""
    return tuple(PublishedRun(**row) for row in tomllib.loads(FILE.read_text(encoding="utf-8"))["run"])


def comparisons(costs: Mapping[str, ModelCost], efficiency: Efficiency = PUBLISHED) -> tuple[Comparison, ...]:
    """Return the comparisons with the runs of some models. costs: what each model costs, by the name in the file."""
    sheets = data_sheets()
    found: list[Comparison] = []
    for run in published_runs():
        if run.model in costs:
            [sheet] = chosen([run.gpu], sheets)
            times = layer_times(
                costs[run.model], sheet, named(run.precision), run.batch_size, efficiency, training=run.training
            )
            found.append(Comparison(run, run.batch_size / sum(time.seconds for time in times)))
    return tuple(found)


def median_error(found: Sequence[Comparison]) -> float:
    """Return the median of the errors without their signs."""
    return statistics.median(abs(one.error) for one in found)
