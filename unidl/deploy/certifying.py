"""Certification of exported files: rows and outputs in float64 by one process, the files run by another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from unidl import registry
from unidl.agreement.subject import Subject
from unidl.computes import Interface
from unidl.deploy import formats
from unidl.deploy.cases import Case, read_cases
from unidl.deploy.certificate import ExportCertificate
from unidl.deploy.description import Description, interface_in, why_not_these
from unidl.deploy.judging import Comparison, compared, in_fewer_bits, why_not_declared
from unidl.deploy.measuring import Measured, measured_in
from unidl.deploy.precisions import FLOAT32
from unidl.machine.environment import environment
from unidl.version import __version__
from unidl.workers.process import WorkerError, WorkerProcess, python_module

LIMIT_SECONDS = 3600.0
ORACLES = ("tensorflow", "torch", "jax")
"""Order in which frameworks compute in float64; the one that exported comes last, so that an error of its own shows."""
HERE = {"device": "cpu", "precision": "float32"}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reference:
    """What a model computes in float64. outputs: by number of case and output. bounds: likewise."""

    interface: Interface
    cases: list[Case]
    outputs: Mapping[tuple[int, int], np.ndarray[Any, Any]]
    bounds: list[list[float]]
    rows: str
    oracle: str


class Certifier:
    """The processes and the temporary folder of certifications; a context manager."""

    def __init__(self, subject: Subject, tell: Tell) -> None:
        self._subject = subject
        self._tell = tell
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._runtime: WorkerProcess | None = None

    def __enter__(self) -> Certifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_runtime()
        self._folder.cleanup()

    def export(self, backend: str, **fields: Any) -> dict[str, Any]:
        """Have a backend write the files into the folder; return its answer."""
        return self._once(backend, float64=False, command="export", folder=str(self.folder), **fields)

    def reference(self, exported_by: str | None, rows: Path | None, data: str | None = None) -> Reference:
        """Compute in float64, on another framework than the one that exported, if there is one. rows: a file of the
        inputs; None for test rows of `data`, or else of the data of the run."""
        out, cases = self.folder / "reference.npz", self.folder / "cases.npz"
        rank = {name: place for place, name in enumerate(ORACLES)}
        names = sorted(registry.requested_backends(), key=lambda name: (name == exported_by, rank.get(name, len(rank))))
        self._tell(f"{self._subject.name}: {names[0]} in float64, perturbed")
        answer = self._once(
            names[0],
            float64=True,
            command="reference",
            out=str(out),
            cases=str(cases),
            bounds_of=FLOAT32,
            rows=None if rows is None else str(rows),
            data=data,
        )
        with np.load(out) as file:
            outputs = {_numbers(name): file[name] for name in file.files}
        interface = interface_in(answer["interface"])
        return Reference(interface, read_cases(cases), outputs, answer["bounds"], answer["rows"], names[0])

    def certificate(
        self, folder: Path, description: Description, facts: Mapping[str, str], reference: Reference
    ) -> ExportCertificate:
        """Run the files of a folder and compare. facts: what the file has to say of itself."""
        form = formats.form(description.form)
        self._tell(f"{self._subject.name}: {form.runtime.name}")
        out = self.folder / "found.npz"
        fault = failure = None
        answer: dict[str, Any] = {"versions": {}, "frameworks": []}
        comparisons: tuple[Comparison, ...] = ()
        try:
            answer = self._run(folder, description, out)
        except WorkerError as error:
            failure = str(error)
        else:
            allowed = {adapter.module for name, adapter in registry.adapters().items() if name == form.runtime.backend}
            fault = _fault(answer, allowed, facts, reference.interface)
            comparisons = _comparisons(out, reference, fewer=description.precision != FLOAT32)
            failure = next(iter(answer["failures"].values()), None)
        return ExportCertificate(
            subject=self._subject.name,
            form=description.form,
            precision=description.precision,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
            environment=environment(registry.versions([reference.oracle])),
            oracle=reference.oracle,
            rows=reference.rows,
            exported_by=description.exported_by,
            runtime=answer["versions"],
            frameworks=tuple(answer["frameworks"]),
            sizes={name: (folder / name).stat().st_size for name in form.files},
            comparisons=comparisons,
            fault=fault,
            failure=failure,
        )

    def rows(self, backend: str, data: str | None) -> tuple[list[np.ndarray[Any, Any]], str]:
        """Write test rows with their labels for `measured`; return inputs of training rows, and what they are."""
        training = self.folder / "training.npz"
        files = {"training": str(training), "test": str(self.folder / "test.npz")}
        answer = self._once(backend, float64=False, command="rows", data=data, **files)
        with np.load(training) as file:
            return [file[name] for name in file.files], answer["rows"]

    def measured(self, folder: Path, full: Path, description: Description, calibrated_on: str | None) -> Measured:
        """Measure the files of a folder beside those in float32, on the rows that `rows` wrote."""
        command = {"command": "measure", "form": description.form, "folder": str(folder), "full": str(full)}
        command |= {"interface": asdict(description.interface), "test": str(self.folder / "test.npz")}
        values = self._of_runtime(command)
        return replace(measured_in(values["measured"]), calibrated_on=calibrated_on)

    def _run(self, folder: Path, description: Description, out: Path) -> dict[str, Any]:
        command = {"form": description.form, "folder": str(folder), "cases": str(self.folder / "cases.npz")}
        command |= {"command": "run", "out": str(out), "interface": asdict(description.interface)}
        return self._of_runtime(command)

    def _of_runtime(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask the process without a framework, which is started on first use."""
        if self._runtime is None:
            self._runtime = WorkerProcess(python_module("unidl.deploy.runtime_worker"))
        try:
            return self._runtime.ask(command, LIMIT_SECONDS)
        except WorkerError as error:
            if not error.goes_on:
                self._end_runtime()
            raise

    def _once(self, backend: str, **fields: Any) -> dict[str, Any]:
        """Ask a new process of a backend one thing."""
        process = WorkerProcess(python_module("unidl.deploy.worker"))
        try:
            return process.ask({"backend": backend, "subject": asdict(self._subject), **HERE, **fields}, LIMIT_SECONDS)
        finally:
            process.close()

    def _end_runtime(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None


def _fault(answer: Mapping[str, Any], allowed: set[str], facts: Mapping[str, str], interface: Interface) -> str | None:
    """Return what is wrong whatever the file computes; None if nothing is."""
    others = sorted(set(answer["frameworks"]) - allowed)
    if others:
        return f"the process that ran it had loaded {', '.join(others)}, so it may need it"
    why_not = why_not_declared(interface_in(answer["interface"]), interface)
    if why_not is None and answer["facts"] is not None:
        why_not = why_not_these(answer["facts"], facts)
    return why_not


def _comparisons(out: Path, reference: Reference, *, fewer: bool) -> tuple[Comparison, ...]:
    found: list[Comparison] = []
    with np.load(out) as file:
        for number, case in enumerate(reference.cases):
            for batch, rows in case.batches().items():
                for place, tensor in enumerate(reference.interface.outputs):
                    name = f"{number}|{batch}|{place}"
                    values = file[name] if name in file.files else None
                    expected = reference.outputs[number, place][:rows]
                    bound = reference.bounds[number][place]
                    one = compared(tensor.name, batch, case.length, values, expected, bound)
                    found.append(in_fewer_bits(one, values, expected) if fewer else one)
    return tuple(found)


def _numbers(name: str) -> tuple[int, int]:
    case, place = name.split("|")
    return int(case), int(place)
