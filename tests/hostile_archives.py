"""Files of Keras's as nobody but an enemy would write them, by name: what each does to a good one, and what the error
says of it. Whoever loads them
has said that they can be trusted; what is refused here is refused all the same."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_descriptions import SYSTEM
from hostile_directories import DEEP

Change = Callable[[Path], None]
ARCHIVES: dict[str, tuple[Change, str]] = {}
TWICE = ("config.json", "confi_.json", "model.weights.h5")
MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: list[tuple[Any, bytes]], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def archive(change: Callable[[dict[str, bytes]], list[tuple[Any, bytes]]], **options: Any) -> Change:
    """Another archive. change: the true members to a list of names, or headers, with contents."""
    return lambda path: _write(path, packed(change(parts(path)), **options))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def more(name: Any, content: bytes = b"secret") -> Change:
    return archive(lambda found: [*found.items(), (name, content)])


def raw(change: Callable[[bytes], bytes]) -> Change:
    return lambda path: _write(path, change(path.read_bytes()))


def renamed(old: str, new: str) -> Change:
    return archive(lambda found: [(new if name == old else name, content) for name, content in found.items()])


def configured(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Another description of the model. change: the old one to the new one, or to its text."""

    def members(found: dict[str, bytes]) -> list[tuple[Any, bytes]]:
        new = change(json.loads(found["config.json"]))
        content = new if isinstance(new, bytes) else json.dumps(new).encode()
        return list((found | {"config.json": content}).items())

    return archive(members)


def layer(**entries: Any) -> Change:
    """Another last layer."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        found["config"]["layers"][-1].update(entries)
        return found

    return configured(change)


def dense(**entries: Any) -> Change:
    """Another last layer of the same class."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        found["config"]["layers"][-1]["config"].update(entries)
        return found

    return configured(change)


def function(module: str, name: str) -> dict[str, str]:
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


def is_a_link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("config.json")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def flagged(content: bytes) -> bytes:
    """Each member says that it is encrypted, in both of its headers."""
    found = bytearray(content)
    for sign, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := content.find(sign, start + 1)) >= 0:
            found[start + place] |= 1
    return bytes(found)


def size_of_first(content: bytes, size: int) -> bytes:
    """The first member says that it has another size, in the list at the end."""
    place = content.find(b"PK\1\2")
    return content[: place + 24] + struct.pack("<I", size) + content[place + 28 :]


def many(content: bytes) -> bytes:
    return packed([(f"{number}.json", b"") for number in range(20_000)])


def overlapping(content: bytes) -> bytes:
    """The second member begins where the first one does."""
    first = content.find(b"PK\1\2")
    second = content.find(b"PK\1\2", first + 1)
    return content[: second + 42] + content[first + 42 : first + 46] + content[second + 46 :]


LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
ARCHIVES |= {
    "archive is a link": (lambda path: (path.rename(path.with_name("mine")), path.symlink_to("mine"))[0], "is a link"),
    "archive is a pipe": (lambda path: (path.unlink(), os.mkfifo(path))[0], "is not a regular file"),
    "archive of nothing": (raw(lambda _: b""), "does not end as a zip archive"),
    "archive that is a pickle": (raw(lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR."), "does not end as a zip archive"),
    "archive without its end": (raw(lambda content: content[:-30]), "does not end as a zip archive"),
    "archive behind a program": (raw(lambda content: b"#!/bin/sh\n" + content), "there is data before the first"),
    "archive with a comment": (raw(lambda content: content[:-2] + b"\4\0PK\5\6"), "does not end as a zip archive"),
    "archive of 10 GB that take no place on the disk": (
        lambda path: os.truncate(path, 10 * 2**30),
        "does not end as a zip archive",
    ),
    "archive of 20 000 members": (raw(many), "Keras writes 3"),
    "member more": (more("evil.py"), "Keras writes 3"),
    "member above": (more("../secret"), "Keras writes 3"),
    "member of the system": (more("/etc/passwd"), "Keras writes 3"),
    "member in a folder above": (renamed("metadata.json", "assets/../../secret"), "its members are"),
    "member that is words of a layer": (more("assets/layers/words/vocabulary.txt"), "Keras writes 3"),
    "member twice": (
        raw(lambda _: packed([(name, b"{}") for name in TWICE]).replace(b"confi_", b"config")),
        "its members are",
    ),
    "member less": (archive(lambda found: list(found.items())[1:]), "Keras writes 3"),
    "member that is a link": (
        archive(lambda found: [(is_a_link() if name == "config.json" else name, found[name]) for name in MEMBERS]),
        "is not a regular file",
    ),
    "member that is encrypted": (raw(flagged), "is encrypted"),
    "member that is longer than it says": (raw(lambda content: size_of_first(content, 5)), "Bad CRC-32"),
    "member that is shorter than it says": (
        raw(lambda content: size_of_first(content, 2**31)),
        "bytes; at most 65,536",
    ),
    "members one on the other": (raw(overlapping), "there is data before the first"),
    "member with another checksum": (
        raw(lambda content: content.replace(b'"keras_version"', b'"keras_vers1on"', 1)),
        "Bad CRC-32",
    ),
    "member packed by LZMA": (
        archive(lambda found: list(found.items()), compression=zipfile.ZIP_LZMA),
        "uses compression method",
    ),
    "weights that are a pickle": (renamed("model.weights.h5", "model.weights.npz"), "its members are"),
    "weights of 256 MB out of 260 kB": (
        archive(
            lambda found: list((found | {"model.weights.h5": bytes(2**28)}).items()), compression=zipfile.ZIP_DEFLATED
        ),
        "would unpack from",
    ),
    "description of 100 MB out of 100 kB": (
        archive(
            lambda found: list((found | {"config.json": b" " * (100 * 2**20)}).items()),
            compression=zipfile.ZIP_DEFLATED,
        ),
        "bytes; at most",
    ),
    "metadata as deep as 100 000": (
        archive(lambda found: list((found | {"metadata.json": b"[" * DEEP}).items())),
        "bytes; at most 65,536",
    ),
    "description as deep as 100 000": (
        configured(lambda _: b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        "deep",
    ),
    "description with a key twice": (
        configured(lambda found: json.dumps(found).encode().replace(b"{", b'{"a":1,"a":2,', 1)),
        "is repeated",
    ),
    "description with NaN": (dense(units=float("nan")), "is not a JSON number"),
    "description with 1e400": (
        configured(lambda found: json.dumps(found).encode().replace(b"0.01", b"1e400", 1)),
        "is too large",
    ),
    "description that is a list": (configured(lambda found: [found]), "is not a JSON object"),
    "description of no model": (configured(lambda found: found["config"]["layers"][-1]), "not a model"),
    "a lambda": (
        layer(class_name="Lambda", config={"function": LAMBDA, "name": "evil"}),
        "Python lambdas are never loaded",
    ),
    "a lambda without a lambda": (
        layer(class_name="Lambda", config={"function": function("keras.ops", "tanh")}),
        "Python lambdas are never loaded",
    ),
    "a lambda as an activation": (dense(activation=LAMBDA), "Python lambdas are never loaded"),
    "os.system as an activation": (dense(activation=SYSTEM), "Could not locate"),
    "os.system as a layer": (layer(class_name="system", module="os", registered_name="os>system"), "Could not locate"),
    "posix.system as an initializer": (dense(kernel_initializer=function("posix", "system")), "Could not interpret"),
    "builtins.exec as an activation": (dense(activation=function("builtins", "exec")), "Could not locate"),
    "set_floatx as an activation": (
        dense(activation=function("keras.config", "set_floatx")),
        "which is not a part of a model",
    ),
    "set_floatx under another name": (
        dense(activation=function("keras", "config.set_floatx")),
        "which is not a valid name",
    ),
    "set_floatx as a layer": (layer(class_name="set_floatx", module="keras.backend"), "which is not a part of a model"),
    "set_random_seed as an activation": (
        dense(activation=function("keras.utils", "set_random_seed")),
        "which is not a part of a model",
    ),
    "get_file as an activation": (
        dense(activation=function("keras.utils", "get_file")),
        "which is not a part of a model",
    ),
    "a download of data as an activation": (
        dense(activation=function("keras.datasets.mnist", "load_data")),
        "which is not a part of a model",
    ),
    "a download of weights as an initializer": (
        dense(kernel_initializer=function("keras.applications", "VGG16")),
        "which is not a part of a model",
    ),
    "load_model as an activation": (
        dense(activation=function("keras.models", "load_model")),
        "which is not a part of a model",
    ),
    "load_model as a layer": (
        layer(class_name="load_model", module="keras.saving", config={"filepath": "/etc"}),
        "which is not a part of a model",
    ),
    "a module of Keras's that is no part of a model": (
        layer(class_name="X", module="keras.src.utils.torch_utils"),
        "which is not a part of a model",
    ),
    "a module that nobody has": (layer(class_name="X", module="antigravity"), "Could not locate"),
    "a library that nobody has imported": (
        layer(class_name="X", module="keras_hub.layers"),
        "which is not a part of a model",
    ),
    "a layer without its module": (
        configured(lambda found: json.loads(json.dumps(found).replace('"module": "keras.layers", ', ""))),
        "without its module",
    ),
    "a layer whose module is a list": (layer(module=["keras", "layers"]), "which is not a part of a model"),
    "a layer whose name is a list": (layer(class_name=["Dense"]), "which is not a valid name"),
    "a SavedModel of TensorFlow": (
        layer(class_name="TFSMLayer", config={"filepath": "/etc", "call_endpoint": "x"}),
        "It contains code of another framework",
    ),
    "a pickle of PyTorch": (
        layer(class_name="TorchModuleWrapper", config={"module": "gAQ="}),
        "It contains code of another framework",
    ),
    "words out of a file": (
        layer(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
        "It has a vocabulary",
    ),
    "a type of TensorFlow's": (
        dense(activation={"class_name": "__typespec__", "config": [], "spec_name": "x"}),
        "It is not a part of a model",
    ),
    "units of 4 billion": (dense(units=4 * 10**9), "more weights than its file contains"),
    "units of 10^400": (dense(units=10**400), "more weights than its file contains"),
    "units of 100 million": (dense(units=10**8), "more weights than its file contains"),
    "words of 10^10": (
        layer(class_name="Embedding", config={"input_dim": 10**10, "output_dim": 8}),
        "more weights than its file contains",
    ),
    "weights of fewer layers": (
        configured(lambda found: {**found, "config": {**found["config"], "layers": found["config"]["layers"][:-1]}}),
        "in only one of the two",
    ),
    "weights of another shape": (dense(units=5), "but the model 'theirs' needs"),
}
