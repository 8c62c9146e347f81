"""Directories of ours as nobody but an enemy would write them, by name: what each does to a directory with a model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DEEP = 100_000
DIRECTORIES: dict[str, Callable[[Path], None]] = {}


def link(name: str, target: str) -> Callable[[Path], None]:
    """A file that is a link."""

    def change(run: Path) -> None:
        (run / name).rename(run.parent / f"mine-{name}")
        (run / name).symlink_to(target.format(name=name))

    return change


def special(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Something else in the place of a file."""

    def change(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return change


def sealed(run: Path, **contents: bytes) -> None:
    """Write files, and a manifest that says that they are right."""
    manifest = json.loads((run / "manifest.json").read_text())
    for stem, content in contents.items():
        [name] = [name for name in manifest["files"] if name.startswith(stem)]
        (run / name).write_bytes(content)
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (run / "manifest.json").write_text(json.dumps(manifest))


def manifest(content: bytes | Callable[[str], bytes | str]) -> Callable[[Path], None]:
    """Another manifest; one that is a function is given the true one."""

    def change(run: Path) -> None:
        found = content((run / "manifest.json").read_text()) if callable(content) else content
        (run / "manifest.json").write_bytes(found.encode() if isinstance(found, str) else found)

    return change


def names(name: str) -> Callable[[Path], None]:
    """A manifest that names one file more."""
    entry = {"bytes": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}

    def change(text: str) -> str:
        found = json.loads(text)
        return json.dumps({**found, "files": {name: entry, **found["files"]}})

    return manifest(change)


def entry(text: str) -> Callable[[Path], None]:
    """A manifest with other words for the length of the weights."""

    def change(found: str) -> str:
        length = json.loads(found)["files"]["weights.safetensors"]["bytes"]
        return found.replace(f'"bytes": {length},', text)

    return manifest(change)


def endless(run: Path) -> None:
    """Weights of 10 GB that take no place on the disk, as a manifest promises them."""
    os.truncate(run / "weights.safetensors", 10 * 2**30)
    length = (run / "weights.safetensors").stat().st_size
    entry(f'"bytes": {length},')(run)


DIRECTORIES |= {
    "weights are a link": link("weights.safetensors", "../mine-{name}"),
    "architecture is a link": link("architecture.json", "../mine-{name}"),
    "manifest is a link": link("manifest.json", "../mine-{name}"),
    "weights are a link to a device without end": link("weights.safetensors", "/dev/zero"),
    "weights are a link to nothing": link("weights.safetensors", "nowhere"),
    "weights are a link to themselves": link("weights.safetensors", "weights.safetensors"),
    "weights are a pipe": special("weights.safetensors", os.mkfifo),
    "manifest is a pipe": special("manifest.json", os.mkfifo),
    "weights are a folder": special("weights.safetensors", Path.mkdir),
    "manifest is a folder": special("manifest.json", Path.mkdir),
    "weights of 10 GB that take no place on the disk": endless,
    "manifest names a file above": names("../secret"),
    "manifest names a file of the system": names("/etc/passwd"),
    "manifest names a file in a folder": names("a/b"),
    "manifest names a file as Windows does": names("..\\secret"),
    "manifest names a drive": names("C:secret"),
    "manifest names a name that ends early": names("secret\0.json"),
    "manifest names nothing": names(""),
    "manifest names itself": names("manifest.json"),
    "manifest as deep as 100 000": manifest(b"[" * DEEP + b"]" * DEEP),
    "manifest as deep as 100 000 in a file's entry": manifest(
        lambda text: text.replace('"files": {', '"files": {"x": ' + '{"a":' * DEEP + "1" + "}" * DEEP + ",")
    ),
    "manifest with a key twice": manifest(lambda text: text.replace('"format"', '"files": {}, "format"')),
    "manifest with a file twice": manifest(
        lambda text: text.replace('"files": {', '"files": {"weights.safetensors": {"bytes": 0, "sha256": ""},')
    ),
    "manifest with another key": manifest(lambda text: text.replace('"format"', '"extends": "../other", "format"')),
    "manifest of a format that is true": manifest(lambda text: text.replace('"format": 1', '"format": true')),
    "manifest of 100 000 files": manifest(
        json.dumps({"format": 1, "files": {str(n): {} for n in range(DEEP)}}).encode()
    ),
    "manifest of 2 MB of spaces": manifest(lambda text: text + " " * 2**21),
    "manifest in UTF-16": manifest(lambda text: text.encode("utf-16")),
    "manifest with a string that does not end": manifest(b'{"format": 1, "files": {"' + b'\\"' * DEEP),
    "weights of NaN bytes": entry('"bytes": NaN,'),
    "weights of 1e400 bytes": entry('"bytes": 1e400,'),
    "weights of -1 bytes": entry('"bytes": -1,'),
    "weights of 10^4000 bytes": entry(f'"bytes": 1{"0" * 4000},'),
    "weights of 10^5000 bytes": entry(f'"bytes": 1{"0" * 5000},'),
}


def described(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Another description of the model. change: the old one to the new one, or to its text."""

    def write(run: Path) -> None:
        found = change(json.loads((run / "architecture.json").read_text()))
        sealed(run, architecture=found.encode() if isinstance(found, str) else json.dumps(found).encode())

    return write


def asked(**arguments: Any) -> Callable[[Path], None]:
    """Other arguments of the builder."""
    return described(lambda found: {**found, "arguments": {**found["arguments"], **arguments}})


def lstm(**arguments: Any) -> Callable[[Path], None]:
    """Another builder."""
    return described(lambda found: {**found, "builder": "lstm", "arguments": arguments})


def transfer(base: Any, **arguments: Any) -> Callable[[Path], None]:
    """A transfer model on a base."""
    arguments = {"base": base, "weights": None, **arguments}
    return described(lambda found: {**found, "builder": "transfer", "arguments": arguments})


def tower(floors: int) -> dict[str, Any]:
    """A base on a base on a base."""
    base: dict[str, Any] = {"builder": "cnn", "arguments": {}}
    for _ in range(floors):
        base = {"builder": "transfer", "arguments": {"base": base}}
    return base


def replaced(old: str, new: str) -> Callable[[Path], None]:
    return described(lambda found: json.dumps(found).replace(old, new))


SYSTEM = {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
DIRECTORIES |= {
    "description as deep as 100 000": described(lambda _: "[" * DEEP + "]" * DEEP),
    "description of 3 million values": described(lambda found: {**found, "frozen": [0] * 3_000_000}),
    "description of 40 MB": described(lambda found: json.dumps(found) + " " * 40_000_000),
    "description with a key twice": replaced('"builder"', '"builder": "lstm", "builder"'),
    "description with another key": described(lambda found: {**found, "code": "import os"}),
    "builder os.system": described(lambda found: {**found, "builder": "os.system"}),
    "builder __import__": described(lambda found: {**found, "builder": "__import__"}),
    "builder in Keras's words without trust": described(
        lambda found: {key: found[key] for key in ("class_names", "vocabulary", "frozen")} | {"keras": SYSTEM}
    ),
    "argument that is a function": asked(dense_units=SYSTEM),
    "units of 4 billion": asked(dense_units=4 * 10**9),
    "units of 100 million": asked(dense_units=10**8),
    "units of 10^400": asked(dense_units=10**400),
    "units of 10^5000": replaced('"dense_units": 4', '"dense_units": 1' + "0" * 5000),
    "units of -1": asked(dense_units=-1),
    "units of NaN": asked(dense_units=float("nan")),
    "units of 1e400": replaced('"dense_units": 4', '"dense_units": 1e400'),
    "units that are true": asked(dense_units=True),
    "share of NaN": asked(dropout=float("nan")),
    "a million filters": asked(filters=[1] * 10**6),
    "33 filters": asked(filters=[1] * 33, input_shape=[2**52, 2**52, 1]),
    "kernel of a billion": asked(kernel_size=10**9, input_shape=[10**9, 10**9, 1]),
    "images of 10^12 pixels": asked(input_shape=[10**6, 10**6, 1]),
    "images of 10^36 pixels": asked(input_shape=[10**12, 10**12, 10**12]),
    "seed of -1": asked(seed=-1),
    "seed of 10^300": asked(seed=10**300),
    "name that is a path": asked(name="../../secret"),
    "precision that is a path": asked(precision="../../secret"),
    "a billion layers": lstm(layers=10**9),
    "33 layers": lstm(layers=33),
    "a vocabulary of 10^12 words": lstm(vocabulary_size=10**12),
    "a sequence of 10^18 steps": lstm(sequence_length=10**18, vocabulary_size=3, units=1, embedding_size=1),
    "features of 10^12": lstm(vocabulary_size=None, features=10**12, targets=1),
    "base that is a path": transfer("../run"),
    "base of 300 million weights": transfer("ConvNeXtXLarge"),
    "base of 1000 layers": transfer("EfficientNetB7"),
    "base without an end": transfer(tower(40)),
    "base on 4 bases": transfer(tower(4)),
    "base with a head of 10^9 weights": transfer(
        {"builder": "cnn", "arguments": {"dense_units": 10**6, "input_shape": [64, 64, 1]}}, pooling="average"
    ),
    "base with features of 10^8": transfer(
        {"builder": "cnn", "arguments": {"filters": [1], "input_shape": [10**4, 10**4, 1]}}, pooling="average"
    ),
    "weights of the base in a file": transfer("VGG16", weights="/etc/passwd"),
    "frozen layers that are not there": described(lambda found: {**found, "frozen": ["../secret"]}),
}


def tensors(header: object, data: bytes = b"", *, length: int | None = None) -> Callable[[Path], None]:
    """A file of safetensors by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = (len(text) if length is None else length).to_bytes(8, "little") + text + data
    return lambda run: sealed(run, weights=content)


def tensor(shape: object = (1,), offsets: object = (0, 4), kind: object = "F32", **others: object) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets, **others}


def twice(first: dict[str, object], second: dict[str, object]) -> bytes:
    return f'{{"a": {json.dumps(first)}, "a": {json.dumps(second)}}}'.encode()


def stored(**arrays: Any) -> Callable[[Path], None]:
    """The true weights but for some."""

    def change(run: Path) -> None:
        from safetensors.numpy import load, save

        true = load((run / "weights.safetensors").read_bytes())
        sealed(run, weights=save(true | {name.replace("__", "/"): array for name, array in arrays.items()}))

    return change


DIRECTORIES |= {
    "no weights": lambda run: sealed(run, weights=b""),
    "weights that are a pickle": lambda run: sealed(run, weights=b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "header longer than the file": tensors({"a": tensor()}, bytes(4), length=10**6),
    "header of 2^63 bytes": tensors({"a": tensor()}, bytes(4), length=2**63),
    "header as deep as 100 000": tensors(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "header of 20 MB": tensors(b" " * (20 * 2**20) + b"{}"),
    "header that is a list": tensors([tensor()], bytes(4)),
    "header in UTF-16": tensors(json.dumps({"a": tensor()}).encode("utf-16"), bytes(4)),
    "tensor twice": tensors(twice(tensor(), tensor()), bytes(4)),
    "tensors one on the other": tensors({"a": tensor((2,), (0, 8)), "b": tensor((2,), (4, 12))}, bytes(12)),
    "hole between tensors": tensors({"a": tensor(), "b": tensor((1,), (8, 12))}, bytes(12)),
    "hole before the first tensor": tensors({"a": tensor((1,), (4, 8))}, bytes(8)),
    "bytes behind the last tensor": tensors({"a": tensor()}, bytes(8)),
    "tensor behind the end": tensors({"a": tensor((2,), (0, 8))}, bytes(4)),
    "tensor that ends before it begins": tensors({"a": tensor((1,), (4, 0))}, bytes(4)),
    "shape of -1": tensors({"a": tensor((-1, -1))}, bytes(4)),
    "shape of 2^40": tensors({"a": tensor((2**40,))}, bytes(4)),
    "shape of 2^40 without elements": tensors({"a": tensor((2**40, 0), (0, 0))}),
    "shape whose product runs over 64 bits": tensors({"a": tensor((2**31, 2**31, 4, 1), (0, 0))}),
    "shape of 1.0": tensors({"a": tensor((1.0,))}, bytes(4)),
    "shape of true": tensors({"a": tensor((True,))}, bytes(4)),
    "shape of NaN": tensors({"a": tensor((float("nan"),))}, bytes(4)),
    "shape of 100 dimensions": tensors({"a": tensor((1,) * 100)}, bytes(4)),
    "offsets of three numbers": tensors({"a": tensor((1,), (0, 4, 8))}, bytes(8)),
    "type that nobody has": tensors({"a": tensor(kind="OBJECT")}, bytes(4)),
    "type that is a list": tensors({"a": tensor(kind=["F32"])}, bytes(4)),
    "tensor with another key": tensors({"a": tensor(file="/etc/passwd")}, bytes(4)),
    "metadata that are no words": tensors({"__metadata__": {"a": [1]}}),
    "truths that are neither": tensors({"a": tensor(kind="BOOL", offsets=(0, 1))}, b"\x02"),
    "weights of another model": stored(other__kernel=np.zeros(3, np.float32)),
    "weight of another shape": stored(logits__bias=np.zeros((1, 3), np.float32)),
    "weight of another type": stored(logits__bias=np.zeros(3, np.int32)),
}
