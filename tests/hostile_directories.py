"""Directories of ours as nobody but an enemy would write them, by name: what each does to a directory with a model,
and what the error says of it. A file that is refused for another reason would show nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

DEEP = 100_000
ENDLESS = 10 * 2**30
DIRECTORIES: dict[str, tuple[Callable[[Path], None], str]] = {}


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
    os.truncate(run / "weights.safetensors", ENDLESS)
    length = (run / "weights.safetensors").stat().st_size
    entry(f'"bytes": {length},')(run)


def endless_on_a_base(run: Path) -> None:
    """A transfer model, whose size nothing tells before it is built, and one tensor of 10 GB as its header says."""
    found = json.loads((run / "architecture.json").read_text())
    base = {"builder": found["builder"], "arguments": found["arguments"]}
    found |= {"builder": "transfer", "arguments": {"base": base, "classes": 3, "dense_units": 4}}
    numbers = ENDLESS // 4
    tensor = {"dtype": "F32", "shape": [2, numbers // 2], "data_offsets": [0, 4 * numbers]}
    header = json.dumps({"conv_1/kernel": tensor}).encode()
    start = len(header).to_bytes(8, "little") + header
    sealed(run, architecture=json.dumps(found).encode(), weights=start)
    os.truncate(run / "weights.safetensors", len(start) + 4 * numbers)
    manifest(lambda text: text.replace(f'"bytes": {len(start)},', f'"bytes": {len(start) + 4 * numbers},'))(run)


DIRECTORIES |= {
    "weights are a link": (link("weights.safetensors", "../mine-{name}"), "is a link"),
    "architecture is a link": (link("architecture.json", "../mine-{name}"), "is a link"),
    "manifest is a link": (link("manifest.json", "../mine-{name}"), "is a link"),
    "weights are a link to a device without end": (link("weights.safetensors", "/dev/zero"), "is a link"),
    "weights are a link to nothing": (link("weights.safetensors", "nowhere"), "is a link"),
    "weights are a link to themselves": (link("weights.safetensors", "weights.safetensors"), "is a link"),
    "weights are a pipe": (special("weights.safetensors", os.mkfifo), "is not a regular file"),
    "manifest is a pipe": (special("manifest.json", os.mkfifo), "is not a regular file"),
    "weights are a folder": (special("weights.safetensors", Path.mkdir), "Is a directory"),
    "manifest is a folder": (special("manifest.json", Path.mkdir), "Is a directory"),
    "weights of 10 GB that take no place on the disk": (endless, "at most 16,777"),
    "weights of 10 GB on a base": (endless_on_a_base, "bytes; at most 16,7"),
    "manifest names a file above": (names("../secret"), "not a plain file name"),
    "manifest names a file of the system": (names("/etc/passwd"), "not a plain file name"),
    "manifest names a file in a folder": (names("a/b"), "not a plain file name"),
    "manifest names a file as Windows does": (names("..\\secret"), "not a plain file name"),
    "manifest names a drive": (names("C:secret"), "not a plain file name"),
    "manifest names a name that ends early": (names("secret\0.json"), "not a plain file name"),
    "manifest names nothing": (names(""), "not a plain file name"),
    "manifest names itself": (names("manifest.json"), "not a plain file name"),
    "manifest as deep as 100 000": (manifest(b"[" * DEEP + b"]" * DEEP), "deep"),
    "manifest as deep as 100 000 in a file's entry": (
        manifest(lambda text: text.replace('"files": {', '"files": {"x": ' + '{"a":' * DEEP + "1" + "}" * DEEP + ",")),
        "deep",
    ),
    "manifest with a key twice": (
        manifest(lambda text: text.replace('"format"', '"files": {}, "format"')),
        "is repeated",
    ),
    "manifest with a file twice": (
        manifest(
            lambda text: text.replace('"files": {', '"files": {"weights.safetensors": {"bytes": 0, "sha256": ""},')
        ),
        "is repeated",
    ),
    "manifest with another key": (
        manifest(lambda text: text.replace('"format"', '"extends": "../other", "format"')),
        "its keys must be exactly 'format' and 'files'",
    ),
    "manifest of a format that is true": (
        manifest(lambda text: text.replace('"format": 1', '"format": true')),
        "this unidl reads format 1",
    ),
    "manifest of 100 000 files": (
        manifest(json.dumps({"format": 1, "files": {str(n): {} for n in range(DEEP)}}).encode()),
        "bytes; at most",
    ),
    "manifest of 2 MB of spaces": (manifest(lambda text: text + " " * 2**21), "bytes; at most"),
    "manifest in UTF-16": (manifest(lambda text: text.encode("utf-16")), "can't decode byte"),
    "manifest with a string that does not end": (
        manifest(b'{"format": 1, "files": {"' + b'\\"' * DEEP),
        "Unterminated string",
    ),
    "weights of NaN bytes": (entry('"bytes": NaN,'), "is not a JSON number"),
    "weights of 1e400 bytes": (entry('"bytes": 1e400,'), "is too large"),
    "weights of -1 bytes": (entry('"bytes": -1,'), "cannot have"),
    "weights of 10^4000 bytes": (entry(f'"bytes": 1{"0" * 4000},'), "cannot have"),
    "weights of 10^5000 bytes": (entry(f'"bytes": 1{"0" * 5000},'), "integer string conversion"),
}
