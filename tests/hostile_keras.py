"""Files of Keras's as nobody but an enemy would write them, by name: what each does to a good one. Whoever loads them
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

import h5py
import numpy as np
from hostile_directories import DEEP, SYSTEM

Change = Callable[[Path], None]
ARCHIVES: dict[str, Change] = {}
WEIGHTS: dict[str, Change] = {}
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
    "archive is a link": lambda path: (path.rename(path.with_name("mine")), path.symlink_to("mine"))[0],
    "archive is a pipe": lambda path: (path.unlink(), os.mkfifo(path))[0],
    "archive of nothing": raw(lambda _: b""),
    "archive that is a pickle": raw(lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "archive without its end": raw(lambda content: content[:-30]),
    "archive behind a program": raw(lambda content: b"#!/bin/sh\n" + content),
    "archive with a comment": raw(lambda content: content[:-2] + b"\4\0PK\5\6"),
    "archive of 10 GB that take no place on the disk": lambda path: os.truncate(path, 10 * 2**30),
    "archive of 20 000 members": raw(many),
    "member more": more("evil.py"),
    "member above": more("../secret"),
    "member of the system": more("/etc/passwd"),
    "member in a folder above": renamed("metadata.json", "assets/../../secret"),
    "member that is words of a layer": more("assets/layers/words/vocabulary.txt"),
    "member twice": raw(lambda _: packed([(name, b"{}") for name in TWICE]).replace(b"confi_", b"config")),
    "member less": archive(lambda found: list(found.items())[1:]),
    "member that is a link": archive(
        lambda found: [(is_a_link() if name == "config.json" else name, found[name]) for name in MEMBERS]
    ),
    "member that is encrypted": raw(flagged),
    "member that is longer than it says": raw(lambda content: size_of_first(content, 5)),
    "member that is shorter than it says": raw(lambda content: size_of_first(content, 2**31)),
    "members one on the other": raw(overlapping),
    "member with another checksum": raw(lambda content: content.replace(b'"keras_version"', b'"keras_vers1on"', 1)),
    "member packed by LZMA": archive(lambda found: list(found.items()), compression=zipfile.ZIP_LZMA),
    "weights that are a pickle": renamed("model.weights.h5", "model.weights.npz"),
    "weights of 256 MB out of 260 kB": archive(
        lambda found: list((found | {"model.weights.h5": bytes(2**28)}).items()), compression=zipfile.ZIP_DEFLATED
    ),
    "description of 100 MB out of 100 kB": archive(
        lambda found: list((found | {"config.json": b" " * (100 * 2**20)}).items()), compression=zipfile.ZIP_DEFLATED
    ),
    "metadata as deep as 100 000": archive(lambda found: list((found | {"metadata.json": b"[" * DEEP}).items())),
    "description as deep as 100 000": configured(lambda _: b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "description with a key twice": configured(
        lambda found: json.dumps(found).encode().replace(b"{", b'{"a":1,"a":2,', 1)
    ),
    "description with NaN": dense(units=float("nan")),
    "description with 1e400": configured(lambda found: json.dumps(found).encode().replace(b"0.01", b"1e400", 1)),
    "description that is a list": configured(lambda found: [found]),
    "description of no model": configured(lambda found: found["config"]["layers"][-1]),
    "a lambda": layer(class_name="Lambda", config={"function": LAMBDA, "name": "evil"}),
    "a lambda without a lambda": layer(class_name="Lambda", config={"function": function("keras.ops", "tanh")}),
    "a lambda as an activation": dense(activation=LAMBDA),
    "os.system as an activation": dense(activation=SYSTEM),
    "os.system as a layer": layer(class_name="system", module="os", registered_name="os>system"),
    "posix.system as an initializer": dense(kernel_initializer=function("posix", "system")),
    "builtins.exec as an activation": dense(activation=function("builtins", "exec")),
    "set_floatx as an activation": dense(activation=function("keras.config", "set_floatx")),
    "set_floatx under another name": dense(activation=function("keras", "config.set_floatx")),
    "set_floatx as a layer": layer(class_name="set_floatx", module="keras.backend"),
    "set_random_seed as an activation": dense(activation=function("keras.utils", "set_random_seed")),
    "get_file as an activation": dense(activation=function("keras.utils", "get_file")),
    "a download of data as an activation": dense(activation=function("keras.datasets.mnist", "load_data")),
    "a download of weights as an initializer": dense(kernel_initializer=function("keras.applications", "VGG16")),
    "load_model as an activation": dense(activation=function("keras.models", "load_model")),
    "load_model as a layer": layer(class_name="load_model", module="keras.saving", config={"filepath": "/etc"}),
    "a module of Keras's that is no part of a model": layer(class_name="X", module="keras.src.utils.torch_utils"),
    "a module that nobody has": layer(class_name="X", module="antigravity"),
    "a library that nobody has imported": layer(class_name="X", module="keras_hub.layers"),
    "a layer without its module": configured(
        lambda found: json.loads(json.dumps(found).replace('"module": "keras.layers", ', ""))
    ),
    "a layer whose module is a list": layer(module=["keras", "layers"]),
    "a layer whose name is a list": layer(class_name=["Dense"]),
    "a SavedModel of TensorFlow": layer(class_name="TFSMLayer", config={"filepath": "/etc", "call_endpoint": "x"}),
    "a pickle of PyTorch": layer(class_name="TorchModuleWrapper", config={"module": "gAQ="}),
    "words out of a file": layer(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
    "a type of TensorFlow's": dense(activation={"class_name": "__typespec__", "config": [], "spec_name": "x"}),
    "units of 4 billion": dense(units=4 * 10**9),
    "units of 10^400": dense(units=10**400),
    "units of 100 million": dense(units=10**8),
    "words of 10^10": layer(class_name="Embedding", config={"input_dim": 10**10, "output_dim": 8}),
    "weights of fewer layers": configured(
        lambda found: {**found, "config": {**found["config"], "layers": found["config"]["layers"][:-1]}}
    ),
    "weights of another shape": dense(units=5),
}


def hdf5(change: Callable[[h5py.File, h5py.Group], object]) -> Change:
    """A change of a file of weights. change: is given the file, and the group with the weights of the last layer."""

    def write(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file, file["layers/dense/vars"])

    return write


def instead(make: Callable[[h5py.Group, Path], object]) -> Change:
    """Something else in the place of a bias of three numbers."""

    def write(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            group = file["layers/dense/vars"]
            del group["1"]
            make(group, path)

    return write


def elsewhere(path: Path) -> str:
    """A file of somebody's with three numbers."""
    with h5py.File(path.with_name("mine.h5"), "w") as file:
        file["1"] = np.ones(3, np.float32)
    return str(path.with_name("mine.h5"))


def virtual(group: h5py.Group, path: Path) -> None:
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(elsewhere(path), "1", (3,))
    group.create_virtual_dataset("1", layout)


def nested(file: h5py.File) -> None:
    group = file
    for _ in range(500):
        group = group.create_group("a")


def three_numbers(group: h5py.Group, **options: Any) -> None:
    usual = {} if "data" in options else {"shape": (3,), "dtype": np.float32}
    group.create_dataset("1", **{**usual, **options})


WEIGHTS |= {
    "file is a link": ARCHIVES["archive is a link"],
    "file is a pipe": ARCHIVES["archive is a pipe"],
    "file of nothing": raw(lambda _: b""),
    "file that is a pickle": ARCHIVES["archive that is a pickle"],
    "file of 10 GB that take no place on the disk": lambda path: os.truncate(path, 10 * 2**30),
    "file without its end": raw(lambda content: content[: len(content) // 2]),
    "file behind a program": raw(lambda content: b"#!/bin/sh\n".ljust(512, b"\n") + content),
    "file of ones": raw(lambda content: content[:8] + b"\xff" * 4000),
    "link to another file": instead(lambda group, path: group.update({"1": h5py.ExternalLink(elsewhere(path), "1")})),
    "link to a file that is not there": instead(lambda group, _: group.update({"1": h5py.ExternalLink("none", "1")})),
    "link inside the file": instead(lambda group, _: group.update({"1": h5py.SoftLink("/layers/dense_1/vars/1")})),
    "link to itself": instead(lambda group, _: group.update({"1": h5py.SoftLink("/layers/dense/vars/1")})),
    "group that links to another file": hdf5(lambda file, _: file.update({"x": h5py.ExternalLink("none", "/")})),
    "group inside itself": hdf5(lambda file, group: group.update({"x": file["layers"]})),
    "array under two names": hdf5(lambda file, group: group.update({"2": group["1"]})),
    "array in another file": instead(lambda group, path: three_numbers(group, external=elsewhere(path))),
    "array of parts of other files": instead(virtual),
    "array of 4 GB that was never written": instead(lambda group, _: three_numbers(group, shape=(2**30,))),
    "array of 2^60 that was never written": instead(lambda group, _: three_numbers(group, shape=(2**60,))),
    "array of 4 GB in packed parts": instead(
        lambda group, _: three_numbers(group, shape=(2**30,), chunks=(2**20,), compression="gzip")
    ),
    "array that may grow": instead(lambda group, _: three_numbers(group, maxshape=(None,), chunks=(3,))),
    "array in packed parts": instead(lambda group, _: three_numbers(group, data=np.ones(3), compression="gzip")),
    "array of words": instead(lambda group, _: three_numbers(group, dtype=h5py.string_dtype())),
    "array of references": instead(lambda group, _: three_numbers(group, dtype=h5py.ref_dtype)),
    "array of records": instead(lambda group, _: three_numbers(group, dtype=np.dtype("f4,f4"))),
    "array of 8 bytes without a type": instead(lambda group, _: three_numbers(group, dtype=np.dtype("V8"))),
    "array without a shape": instead(lambda group, _: group.create_dataset("1", data=h5py.Empty("f4"))),
    "array of whole numbers": instead(lambda group, _: three_numbers(group, data=np.ones(3, np.int32))),
    "array of another shape": instead(lambda group, _: three_numbers(group, data=np.ones((3, 1), np.float32))),
    "array that is a group": instead(lambda group, _: group.create_group("1")),
    "array that is a type": instead(lambda group, _: group.update({"1": np.dtype("f4")})),
    "array less": instead(lambda group, _: None),
    "array more": hdf5(lambda file, group: group.create_dataset("7", data=np.ones(3, np.float32))),
    "groups as deep as 500": hdf5(lambda file, _: nested(file)),
    "attribute of 30 kB": hdf5(lambda file, group: group.attrs.update({"name": np.zeros(30_000, "u1")})),
    "a hundred attributes": hdf5(lambda file, group: group.attrs.update({str(n): n for n in range(100)})),
}
