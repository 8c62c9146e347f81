"""Exported directories: recognised, read with every file checked against the manifest, and opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unidl.deploy import formats
from unidl.deploy.description import DESCRIPTION, Description, parse, record_in
from unidl.deploy.format import Files, Format, Opened
from unidl.errors import SavedModelError, UsageError
from unidl.models.records import Record
from unidl.saving.directories import location, read_directory
from unidl.saving.manifest import read_manifest
from unidl.saving.saved_architecture import ARCHITECTURE


@dataclass(frozen=True)
class ExportedFiles:
    """An exported directory, read. record: what is known of the model. files: those of the format."""

    description: Description
    record: Record
    form: Format
    files: Files

    def opened(self) -> Opened:
        """Load the files in their runtime. Raises `UsageError` if it is not installed."""
        why_not = self.form.runtime.why_not()
        if why_not is not None:
            raise UsageError(f"Cannot run a file of format {self.form.name}: {why_not}.")
        return self.form.runtime.open(self.files, self.description.interface)


def is_exported(path: Path) -> bool:
    """Return whether a path is a directory that `export` wrote, as far as its manifest says. Reads no other file."""
    try:
        return path.is_dir() and DESCRIPTION in read_manifest(location(path))
    except SavedModelError:
        return False


def read_exported(path: Path, *, trust: bool = False) -> ExportedFiles:
    """Read an exported directory. Nothing is parsed by a runtime.

    Raises `SavedModelError` if a file is missing, a link, or has changed, if the directory is not an exported one, or
    if its format can run code and it is not trusted.
    """
    beside = read_directory(path, only=(DESCRIPTION, ARCHITECTURE))
    if set(beside) != {DESCRIPTION, ARCHITECTURE}:
        raise SavedModelError(f"Cannot load {path}: `unidl export` did not write it.")
    description = parse(beside[DESCRIPTION], path)
    form = formats.form(description.form)
    if form.runs_code and trust is not True:
        raise SavedModelError(
            f"Cannot load {path}: loading {form.title} can run code that the file holds. If you trust its source, "
            "pass --trust, or trust=True."
        )
    files = read_directory(path, only=form.files)
    missing = [name for name in form.files if name not in files]
    if missing:
        raise SavedModelError(f"Cannot load {path}: {missing[0]} is missing.")
    return ExportedFiles(description, record_in(beside[ARCHITECTURE], path), form, files)
