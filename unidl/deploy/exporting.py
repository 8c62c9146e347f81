"""Export of a run: written only if a process without a framework computes the same with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unidl.agreement.subject import Subject
from unidl.deploy import formats
from unidl.deploy.certificate import CERTIFICATE, ExportCertificate
from unidl.deploy.certifying import Certifier
from unidl.deploy.description import DESCRIPTION, Description, facts_of, interface_in, record_in
from unidl.deploy.exported import read_exported
from unidl.deploy.format import Format
from unidl.deploy.precisions import FLOAT32, INT8, require_known
from unidl.errors import ExportError, UsageError
from unidl.notices import notice
from unidl.paths import as_path
from unidl.saving.directories import location, require_writable, write_directory
from unidl.saving.manifest import read_manifest
from unidl.saving.saved_architecture import ARCHITECTURE


@dataclass(frozen=True)
class Exported:
    """The result of an export. directory: of the files."""

    directory: Path
    certificate: ExportCertificate


def export(
    run: str | Path,
    to: str,
    *,
    precision: str = FLOAT32,
    out: str | Path | None = None,
    backend: str | None = None,
    rows: Any = None,
    data: str | None = None,
    trust: bool = False,
    tell: Callable[[str], None] = notice,
) -> Exported:
    """Export a run to a file that another program runs, and certify it.

    The file is run in a process that has no framework, in batches of 1, 3 and 256 rows, and at other lengths where the
    model takes any, and compared with the model in float64. A file that does not agree is not written.

    Args:
        run: A directory that `unidl train` or `Trainer.save` wrote, on any backend.
        to: The format: "onnx", "openvino", "litert", "stablehlo", "pt2" or "saved-model".
        precision: "float32"; or "float16" or "int8" for a smaller ONNX file, which is measured beside the one in
            float32 on the run's test rows. The ranges of int8 are found on training rows; recurrent layers find them
            in each run.
        out: The directory to write. If None, exported/RUN-FORMAT, with -PRECISION behind it if that is not float32.
        backend: The backend that exports. If None, the installed one that does it best.
        rows: Inputs (n, ...) on which the file is compared, or a list of arrays for several inputs. If None, test rows
            of `data`.
        data: As in `load_data`. If None, what the run was trained on.
        trust: As in `load_model`.
        tell: Called with a line for each stage.

    Returns:
        The directory and the certificate.

    Raises:
        UsageError: If the format is unknown, or something that it needs is not installed.
        ModelError: If the format cannot hold the model; the message says why, and what to do.
        ExportError: If the file does not compute the same.
        SavedModelError: If the run cannot be loaded, or the directory cannot be written.
    """
    run = as_path(run)
    form = formats.form(to)
    _require_precision(form, precision, rows)
    chosen = formats.exporters(form, backend)[0]
    ending = "" if precision == FLOAT32 else f"-{precision}"
    target = as_path(out) if out is not None else Path("exported") / f"{run.name}-{to}{ending}"
    subject = subject_of(run, trust=trust)
    require_writable(target)
    with Certifier(subject, tell) as certifier:
        tell(f"{run}: {chosen.backend} writes {form.title}")
        answer = certifier.export(chosen.backend, form=to, kind=chosen.kind)
        versions = answer["versions"]
        description = Description(to, FLOAT32, interface_in(answer["interface"]), versions, _source(run))
        architecture = (certifier.folder / ARCHITECTURE).read_bytes()
        reference = certifier.reference(chosen.backend, _as_file(rows, certifier.folder), data)
        record = record_in(architecture, run)
        folder = certifier.folder
        certificate = certifier.certificate(folder, description, facts_of(record, FLOAT32), reference)
        _require(certificate, target)
        if precision != FLOAT32:
            description = replace(description, precision=precision)
            folder, calibrated_on = _in_fewer_bits(certifier, form, description, chosen.backend, data, tell)
            certificate = certifier.certificate(folder, description, facts_of(record, precision), reference)
            if certificate.failure is None:
                measured = certifier.measured(folder, certifier.folder, description, calibrated_on)
                certificate = replace(certificate, measured=measured)
            _require(certificate, target)
        files = {name: (folder / name).read_bytes() for name in form.files}
    beside = {DESCRIPTION: description.to_json(), ARCHITECTURE: architecture, CERTIFICATE: certificate.content()}
    write_directory(target, files | beside)
    return Exported(target, certificate)


def _require_precision(form: Format, precision: str, rows: Any) -> None:
    """Raise `UsageError` for a precision that the format lacks here, or that cannot be measured on given rows."""
    require_known(precision)
    if precision == FLOAT32:
        return
    if precision not in form.in_fewer_bits:
        able = [name for name in formats.names() if precision in formats.form(name).in_fewer_bits]
        raise UsageError(
            f"Cannot export to {form.name} in {precision}: unidl writes {precision} as {', '.join(able)} only. Leave "
            f"the precision out, or export to {able[0]}."
        )
    if rows is not None:
        raise UsageError(
            f"Cannot use rows= with precision={precision!r}: training rows and labelled test rows are needed. Pass "
            "data=, or leave both out for the data of the run."
        )


def _require(certificate: ExportCertificate, target: Path) -> None:
    if not certificate.agrees:
        raise ExportError(f"{target} was not written: {certificate.summary()}: {certificate.why_not()}.")


def _in_fewer_bits(
    certifier: Certifier,
    form: Format,
    description: Description,
    backend: str,
    data: str | None,
    tell: Callable[[str], None],
) -> tuple[Path, str | None]:
    """Make the files in fewer bits of those in float32; return their folder, and the rows of the ranges in words; None
    for a precision without ranges."""
    inputs, calibrated_on = certifier.rows(backend, data)
    tell(f"{form.title} in {description.precision}, made of the file in float32")
    full = {name: (certifier.folder / name).read_bytes() for name in form.files}
    folder = certifier.folder / description.precision
    folder.mkdir()
    for name, content in form.in_fewer_bits[description.precision](full, inputs).items():
        (folder / name).write_bytes(content)
    return folder, calibrated_on if description.precision == INT8 else None


def verify(
    run: str | Path,
    exported: str | Path,
    *,
    rows: Any = None,
    trust: bool = False,
    tell: Callable[[str], None] = notice,
) -> ExportCertificate:
    """Certify an exported directory again, on this machine.

    Args:
        run: The run that it was exported from.
        exported: A directory that `export` wrote.
        rows: As in `export`.
        trust: Whether you know who made both; formats that can run code, such as .pt2, need it.
        tell: Called with a line for each stage.

    Returns:
        The certificate, which may not agree.

    Raises:
        SavedModelError: If the directory is damaged, or not to be trusted.
        UsageError: If the runtime is not installed.
    """
    run = as_path(run)
    read = read_exported(as_path(exported), trust=trust)
    with Certifier(subject_of(run, trust=trust), tell) as certifier:
        # What was checked against the manifest is what is run.
        candidate = certifier.folder / "candidate"
        candidate.mkdir()
        for name, content in read.files.items():
            (candidate / name).write_bytes(content)
        by = next((one.backend for one in read.form.exporters if one.backend in read.description.exported_by), None)
        reference = certifier.reference(by, _as_file(rows, certifier.folder))
        facts = facts_of(_record_of_run(run), read.description.precision)
        return certifier.certificate(candidate, read.description, facts, reference)


def subject_of(run: Path, *, trust: bool) -> Subject:
    """Return a run as the subject of a certificate. Raises `UsageError` for anything else."""
    subject = Subject(str(run), trust=trust)
    if not run.is_dir():
        raise UsageError(
            f"Cannot export {run}: pass the directory of a run, which `unidl train` or Trainer.save wrote."
        )
    return subject


def _record_of_run(run: Path) -> Any:
    from unidl.saving.directories import read_directory

    return record_in(read_directory(run, only=(ARCHITECTURE,))[ARCHITECTURE], run)


def _source(run: Path) -> dict[str, str]:
    """Return the hashes of the files of the run that make its model."""
    entries = read_manifest(location(run))
    return {name: entry.sha256 for name, entry in entries.items() if name in (ARCHITECTURE, "weights.safetensors")}


def _as_file(rows: Any, folder: Path) -> Path | None:
    """Write given rows to a file for the process that computes with them."""
    if rows is None:
        return None
    leaves = rows if isinstance(rows, list | tuple) else [rows]
    path = folder / "rows.npz"
    np.savez(path, *[np.asarray(leaf) for leaf in leaves])
    return path
