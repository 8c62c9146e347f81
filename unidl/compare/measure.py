"""The parent of the workers: groups run one after another, rounds within a group are interleaved, never in parallel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from unidl import registry
from unidl.compare.cells import Cell, Group
from unidl.compare.progress import ComparisonProgress
from unidl.compare.results import Measurement, Round, Run
from unidl.compare.workloads import workload
from unidl.machine.environment import environment
from unidl.version import __version__
from unidl.workers.process import WorkerError, WorkerProcess, python_module

SETTLE_SECONDS = 0.2
"""Pause between two rounds: the previous worker's threads spin for a while before they sleep (LLVM's OpenMP runtime,
KMP_BLOCKTIME, whose default is 200 ms)."""
EXTRAS = ("memory", "inference", "peak")
"""Measured after the rounds, whose results are kept even if one of these fails."""
EXPECTED_SECONDS = {"prepare": 12.0, "memory": 0.1, "inference": 4.0, "peak": 2.0}
"""Assumed durations for estimating the time left."""
INTERRUPTED = "interrupted before it was measured"

Launch: TypeAlias = Callable[[], WorkerProcess]
Groups: TypeAlias = Mapping[Group, Sequence[Cell]]


@dataclass(frozen=True)
class Plan:
    """How to measure. seconds: per round; rows: per epoch, None for the model's default."""

    rounds: int
    seconds: float
    rows: int | None = None
    extras: bool = True
    """Whether to also measure memory, inference and the peak rate."""
    limits_seconds: Mapping[str, float] = field(
        default_factory=lambda: {"prepare": 1200.0, "round": 300.0, "memory": 60.0, "inference": 300.0, "peak": 300.0}
    )
    """Time limit of a command; a round may take this plus 30 times its intended duration."""

    def limit_seconds(self, command: str) -> float:
        """Return the time limit of a command."""
        return self.limits_seconds[command] + (30 * self.seconds if command == "round" else 0.0)

    def expected_seconds(self, command: str, cell: Cell) -> float:
        """Return the expected duration of a command, for the time left."""
        if command in EXPECTED_SECONDS:
            return EXPECTED_SECONDS[command]
        return max(self.seconds, workload(cell.model).round_seconds) + SETTLE_SECONDS


def launch_worker() -> WorkerProcess:
    """Start the process of one cell."""
    return WorkerProcess(python_module("unidl.compare.worker"))


def measure(
    groups: Groups,
    plan: Plan,
    progress: ComparisonProgress,
    launch: Launch = launch_worker,
    keep: Callable[[Run], None] | None = None,
) -> Run:
    """Measure every cell. Ctrl-C ends it early with the results so far and `interrupted` set.

    keep: called with the results so far after each group, so that they survive if the process is killed.
    """
    backends = list(dict.fromkeys(cell.backend for members in groups.values() for cell in members))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    surroundings = environment(registry.versions(backends))
    run = Run(created, __version__, plan.rounds, plan.seconds, surroundings, ())
    progress.start(sum(_expected(members, plan) for members in groups.values()))
    try:
        for members in groups.values():
            found, interrupted = _measure_group([_Runner(cell, plan, progress, launch) for cell in members], plan)
            run = replace(run, measurements=(*run.measurements, *found), interrupted=interrupted)
            if keep is not None:
                keep(run)
            if interrupted:
                break
    finally:
        progress.stop()
    return run


def _expected(members: Sequence[Cell], plan: Plan) -> float:
    return sum(plan.expected_seconds(command, cell) for cell in members for command in _commands(cell, plan))


def _commands(cell: Cell, plan: Plan) -> list[str]:
    return ["prepare", *["round"] * plan.rounds, *_extras(cell, plan)]


def _extras(cell: Cell, plan: Plan) -> list[str]:
    """Return the extra commands of a cell. The matrix product is timed once per backend: it depends on the
    framework."""
    if cell.twin or not plan.extras:
        return []
    left_out = [] if cell.implementation == "unidl" else ["peak"]
    left_out += [] if cell.data is None else ["inference"]  # its rows are in no memory, from which they could be fed
    return [command for command in EXTRAS if command not in left_out]


def _measure_group(runners: list[_Runner], plan: Plan) -> tuple[list[Measurement], bool]:
    """Return the measurements, and whether Ctrl-C ended them."""
    interrupted = False
    try:
        for runner in runners:
            runner.prepare()
        for number in range(1, plan.rounds + 1):
            for runner in runners:
                runner.round(number)
        for runner in runners:
            runner.extras()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for runner in runners:
            runner.close()
    return [runner.measurement(interrupted=interrupted) for runner in runners], interrupted


class _Runner:
    """The state of one cell: its process, its answers, and why it failed."""

    def __init__(self, cell: Cell, plan: Plan, progress: ComparisonProgress, launch: Launch) -> None:
        self._cell = cell
        self._plan = plan
        self._progress = progress
        self._launch = launch
        self._process: WorkerProcess | None = None
        self._failure: str | None = None
        self._why_incomplete: str | None = None
        self._fields: dict[str, Any] = {}
        self._rounds: list[Round] = []

    def prepare(self) -> None:
        self._say("prepare", "prepares")
        self._process = self._launch()  # not earlier: its imports would slow down the previous cell
        fields = {**asdict(self._cell), "seconds": self._plan.seconds, "rows": self._plan.rows}
        answer = self._ask("prepare", **fields)
        answer.pop("versions", None)
        self._fields |= answer

    def round(self, number: int) -> None:
        self._say("round", f"round {number} of {self._plan.rounds}")
        if self._process is not None:
            time.sleep(SETTLE_SECONDS)
        answer = self._ask("round", epochs=self._fields.get("epochs"))
        if answer:
            self._rounds.append(Round(**answer))

    def extras(self) -> None:
        for command in _extras(self._cell, self._plan):
            self._say(command, command)
            self._fields |= self._ask(command, seconds=min(1.0, self._plan.seconds))

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def measurement(self, *, interrupted: bool) -> Measurement:
        """Return the measurement; after Ctrl-C a cell without rounds counts as not measured."""
        if interrupted and not self._rounds:
            self._failure = self._failure or INTERRUPTED
        # JSON has no tuples.
        fields: dict[str, Any] = self._fields | {
            name: tuple(self._fields.get(name, ())) for name in ("losses", "kernels_off")
        }
        return Measurement(self._cell, self._failure, self._why_incomplete, tuple(self._rounds), **fields)

    def _say(self, command: str, what: str) -> None:
        if self._process is not None or command == "prepare":
            self._progress.doing(f"{self._cell.group.title}: {self._cell.title}, {what}")

    def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Return the answer, empty if the cell has failed."""
        answer: dict[str, Any] = {}
        if self._process is not None:
            try:
                answer = self._process.ask({"command": command, **fields}, self._plan.limit_seconds(command))
            except WorkerError as error:
                if command in EXTRAS:
                    self._why_incomplete = f"{command}: {error}"
                else:
                    self._failure = str(error)
                self.close()
        self._progress.done(self._plan.expected_seconds(command, self._cell))
        return answer
