"""The verification: every backend, device and precision against an oracle in float64, each in a separate process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from unidl import registry
from unidl.agreement.certificate import Certificate, Check, Setting, Trial
from unidl.agreement.files import Bounds, Values, deviations, read_bounds, read_values
from unidl.agreement.subject import Subject
from unidl.agreement.verdicts import Layer, differences
from unidl.machine.environment import environment
from unidl.version import __version__
from unidl.workers.process import WorkerError, WorkerProcess, python_module

ORACLES = ("tensorflow", "jax", "torch")
"""Order in which frameworks are used as the oracle, provided they agree in float64. TensorFlow is faster in eager mode
than JAX, and Keras has fewer errors on it than on PyTorch."""
ORACLE_SHARE = 0.1
"""Allowed error of an oracle, as a fraction of the float32 bound."""
STEPS = 5
LIMIT_SECONDS = 3600.0
FEW_SUBJECTS = 16
"""Models per process: frameworks keep compiled programs in memory, about 50 MB per model."""

Tell = Callable[[str], None]


class Verifier:
    """The processes that verify: per backend, one for float64 and one for other precisions. A context manager that can
    verify any number of subjects."""

    def __init__(self, tell: Tell = lambda text: None) -> None:
        self._tell = tell
        self._processes: dict[tuple[str, bool], WorkerProcess] = {}
        self._verified = 0

    def __enter__(self) -> Verifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def certificate(
        self, subject: Subject, settings: Sequence[Setting], *, steps: int = STEPS, seed: int = 0, confirm: bool = True
    ) -> Certificate:
        """Verify a subject. confirm: whether the other installed frameworks check the oracle in float64.

        Raises `WorkerError` if no oracle can be computed. A trial that fails counts as one that does not agree, with
        its reason.
        """
        if self._verified and self._verified % FEW_SUBJECTS == 0:
            self._close()
        self._verified += 1
        with tempfile.TemporaryDirectory() as folder:
            verification = _Verification(self._ask, self._tell, subject, Path(folder), steps, seed)
            return verification.run(settings, confirm=confirm)

    def _close(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()

    def _ask(self, backend: str, *, float64: bool, **command: Any) -> dict[str, Any]:
        key = backend, float64
        if key not in self._processes:
            self._processes[key] = WorkerProcess(python_module("unidl.agreement.worker"))
        try:
            return self._processes[key].ask({"backend": backend, "float64": float64, **command}, LIMIT_SECONDS)
        except WorkerError as error:
            if not error.goes_on:
                self._processes.pop(key).close()
            raise


class _Verification:
    """The verification of one subject."""

    def __init__(
        self, ask: Callable[..., dict[str, Any]], tell: Tell, subject: Subject, folder: Path, steps: int, seed: int
    ) -> None:
        self._ask = ask
        self._tell = tell
        self._subject = subject
        self._folder = folder
        self._steps = steps
        self._seed = seed
        self._common = {"subject": asdict(subject), "start": str(folder / "start.npz"), "steps": steps}

    def run(self, settings: Sequence[Setting], *, confirm: bool) -> Certificate:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        backends = list(dict.fromkeys(setting.backend for setting in settings))
        precisions = list(dict.fromkeys(["float32", *(setting.precision for setting in settings)]))
        described, answer, values, bounds, failed = self._first_oracle(precisions)
        others = [name for name in self._ranked() if name != answer["backend"] and name not in failed]
        answer, values, bounds, checks = self._confirmed(answer, values, bounds, others if confirm else (), precisions)
        checks += tuple(Check(name, failure=why) for name, why in failed.items())
        trials = tuple(self._trial(setting, values, bounds) for setting in settings)
        return Certificate(
            subject=self._subject.name,
            created=created,
            version=__version__,
            environment=environment(registry.versions(backends)),
            model=described["model"],
            parameters=described["parameters"],
            loss=described["loss"],
            rows=described["rows"],
            steps=self._steps,
            seed=self._seed,
            oracle=answer["backend"],
            layers=tuple(Layer(**layer) for layer in answer["layers"]),
            silenced=tuple(answer["silenced"]),
            checks=checks,
            trials=trials,
        )

    def _ranked(self) -> list[str]:
        """Return the installed backends, requested or not, best oracle first."""
        rank = {name: place for place, name in enumerate(ORACLES)}
        return sorted(registry.requested_backends(), key=lambda name: rank.get(name, len(rank)))

    def _first_oracle(
        self, precisions: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, Any], Values, dict[str, Bounds], dict[str, str]]:
        """Return the model and its oracle on the first backend that can compute it, and why earlier ones cannot."""
        failed: dict[str, str] = {}
        codes: set[int] = set()
        for name in self._ranked():
            try:
                described = self._in_float64(name, "start", seed=self._seed)
                return described, *self._oracle(name, precisions), failed
            except WorkerError as error:
                failed[name] = str(error)
                codes.add(error.exit_code)
        exit_code = codes.pop() if len(codes) == 1 else WorkerError.exit_code
        reasons = "".join(f"\n  {name}: {why}" for name, why in failed.items())
        message = f"Cannot verify {self._subject.name}: no backend computes it in float64.{reasons}"
        raise WorkerError(message, exit_code)

    def _confirmed(
        self,
        answer: dict[str, Any],
        values: Values,
        bounds: dict[str, Bounds],
        others: Sequence[str],
        precisions: Sequence[str],
    ) -> tuple[dict[str, Any], Values, dict[str, Bounds], tuple[Check, ...]]:
        """Return the oracle that most of the others agree with: the first one, unless the others agree with each other
        but not with it."""
        first = answer["backend"]
        found = {name: self._values(name) for name in others}
        votes = {name: _checks(name, {first: values, **found}, bounds["float32"]) for name in (first, *others)}
        chosen = max(votes, key=lambda name: sum(check.agrees for check in votes[name]))
        if chosen != first:
            answer, values, bounds = self._oracle(chosen, precisions)
        return answer, values, bounds, votes[chosen]

    def _oracle(self, backend: str, precisions: Sequence[str]) -> tuple[dict[str, Any], Values, dict[str, Bounds]]:
        self._tell(f"{self._subject.name}: {backend} in float64, perturbed")
        paths = {precision: str(self._folder / f"bounds {precision}.npz") for precision in precisions}
        out = self._folder / "oracle.npz"
        answer = self._in_float64(backend, "oracle", out=str(out), bounds=paths)
        bounds = {precision: read_bounds(Path(path)) for precision, path in paths.items()}
        return answer | {"backend": backend}, read_values(out), bounds

    def _values(self, backend: str) -> Values | str:
        """Return a backend's values in float64, or why there are none."""
        self._tell(f"{self._subject.name}: {backend} in float64")
        out = self._folder / f"{backend} float64.npz"
        try:
            self._in_float64(backend, "check", out=str(out))
        except WorkerError as error:
            return str(error)
        return read_values(out)

    def _trial(self, setting: Setting, values: Values, bounds: dict[str, Bounds]) -> Trial:
        self._tell(f"{self._subject.name}: {setting}")
        out = self._folder / "trial.npz"
        fields = asdict(setting)
        try:
            answer = self._ask(**fields, float64=False, command="trial", out=str(out), **self._common)
        except WorkerError as error:
            return Trial(**fields, failure=str(error))
        errors = deviations(read_values(out), values)
        found = differences(errors, bounds["float32"], bounds[setting.precision])
        return Trial(**fields, differences=tuple(found), versions=answer["versions"])

    def _in_float64(self, backend: str, command: str, **fields: Any) -> dict[str, Any]:
        where = {"device": "cpu", "precision": "float32"}
        return self._ask(backend, float64=True, command=command, **where, **self._common, **fields)


def _checks(backend: str, found: Mapping[str, Values | str], bound: Bounds) -> tuple[Check, ...]:
    """Compare a backend's values with those of the others. found: values, or why there are none."""
    values = found[backend]
    if isinstance(values, str):
        return ()
    allowed = {name: ORACLE_SHARE * one for name, one in bound.items()}
    return tuple(
        Check(name, failure=other)
        if isinstance(other, str)
        else Check(name, tuple(differences(deviations(other, values), allowed, allowed)))
        for name, other in found.items()
        if name != backend
    )
