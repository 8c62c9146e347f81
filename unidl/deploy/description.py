"""The description of an exported file: export.json beside it, and the facts that the file itself holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidl.computes import Interface, Tensor
from unidl.deploy import formats
from unidl.deploy.format import Facts
from unidl.errors import SavedModelError
from unidl.models.records import Record
from unidl.saving.saved_architecture import read_description
from unidl.saving.strict_json import read_json

DESCRIPTION = "export.json"
FORMAT = 1
LONGEST = 2**20
"""Maximum bytes of export.json."""


@dataclass(frozen=True)
class Description:
    """What an exported file is. form: the name of its format. precision: of its weights and products. exported_by:
    versions of what wrote it. source: sha256 of the files of the run, by name."""

    form: str
    precision: str
    interface: Interface
    exported_by: Mapping[str, str]
    source: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the content of export.json."""
        values = {"format": FORMAT, "to": self.form, "precision": self.precision, **asdict(self.interface)}
        return json.dumps(
            {**values, "exported_by": dict(self.exported_by), "source": dict(self.source)}, indent=1
        ).encode()


def parse(content: bytes, path: Path) -> Description:
    """Parse export.json. Raises `SavedModelError` if it has another form, or names an unknown format."""
    try:
        values = read_json(content)
        wanted = {"format", "to", "precision", "inputs", "outputs", "exported_by", "source"}
        if not isinstance(values, dict) or set(values) != wanted:
            raise ValueError(f"its keys must be {', '.join(sorted(wanted))}")
        if values["format"] != FORMAT or values["to"] not in formats.names():
            raise ValueError(f"this unidl reads format {FORMAT} and {', '.join(formats.names())}")
        if not isinstance(values["precision"], str):
            raise ValueError("'precision' must be a string")
        interface = interface_in(values)
        words = [_words(values[name], name) for name in ("exported_by", "source")]
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"Cannot load {path}: its {DESCRIPTION} is damaged ({error}).") from error
    return Description(values["to"], values["precision"], interface, *words)


def interface_in(values: Mapping[str, Any]) -> Interface:
    """Return the inputs and outputs in JSON values. Raises `ValueError` if they have another form."""
    return Interface(*(_tensors(values[name], name) for name in ("inputs", "outputs")))


def record_in(architecture: bytes, path: Path) -> Record:
    """Return what is known of the model from the architecture.json of its run."""
    found = read_description(architecture, path)
    return Record(
        architecture=found.architecture,
        class_names=found.class_names,
        vocabulary=found.vocabulary,
        value_range=found.value_range,
        table=found.table,
        tokenizer=found.tokenizer,
        head_names=found.head_names,
    )


def facts_of(record: Record, precision: str) -> dict[str, str]:
    """Return the facts that are stored in a file: JSON by name, without those that are unknown."""
    known: dict[str, Any] = {
        "class_names": list(record.class_names),
        "vocabulary": list(record.vocabulary),
        "value_range": record.value_range,
        "table": None if record.table is None else record.table.to_json(),
        "tokenizer": None if record.tokenizer is None else record.tokenizer.to_json(),
        "head_names": dict(record.head_names),
    }
    kept = {name: json.dumps(value, ensure_ascii=False) for name, value in known.items() if value}
    return {"precision": precision} | kept


def why_not_these(found: Facts, expected: Facts) -> str | None:
    """Return the first fact of a file that differs from the expected one; None if all are equal."""
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            return f"its {name.replace('_', ' ')} differ from those of the run"
    return None


def _tensors(values: Any, name: str) -> tuple[Tensor, ...]:
    if not isinstance(values, list) or not 0 < len(values) <= 1000:
        raise ValueError(f"{name!r} must be a list of tensors")
    found: list[Tensor] = []
    for value in values:
        if not isinstance(value, dict) or set(value) != {"name", "shape", "dtype"}:
            raise ValueError(f"each of {name!r} must have a name, a shape and a dtype")
        shape = value["shape"]
        sizes_are_right = isinstance(shape, list) and all(
            size is None or (type(size) is int and 0 <= size < 2**31) for size in shape
        )
        if not sizes_are_right or not isinstance(value["name"], str) or not isinstance(value["dtype"], str):
            raise ValueError(f"a shape of {name!r} is not a list of sizes")
        found.append(Tensor(value["name"], tuple(shape), value["dtype"]))
    return tuple(found)


def _words(values: Any, name: str) -> dict[str, str]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"{name!r} must contain strings by name")
    return values
