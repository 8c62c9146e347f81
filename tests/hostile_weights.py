"""Files of weights as nobody but an enemy would write them, by name: what each does to a good one, and what the error
says of it. Whoever loads them has said that they can be trusted; what is refused here is refused all the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hostile_archives import ARCHIVES, Change, raw


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


WEIGHTS: dict[str, tuple[Change, str]] = {
    "file is a link": (ARCHIVES["archive is a link"][0], "is a link"),
    "file is a pipe": (ARCHIVES["archive is a pipe"][0], "is not a regular file"),
    "file of nothing": (raw(lambda _: b""), "does not start like an HDF5 file"),
    "file that is a pickle": (ARCHIVES["archive that is a pickle"][0], "does not start like an HDF5 file"),
    "file of 10 GB that take no place on the disk": (lambda path: os.truncate(path, 10 * 2**30), "at most 16,777"),
    "file without its end": (raw(lambda content: content[: len(content) // 2]), "HDF5 cannot read it"),
    "file behind a program": (
        raw(lambda content: b"#!/bin/sh\n".ljust(512, b"\n") + content),
        "does not start like an HDF5 file",
    ),
    "file of ones": (raw(lambda content: content[:8] + b"\xff" * 4000), "HDF5 cannot read it"),
    "link to another file": (
        instead(lambda group, path: group.update({"1": h5py.ExternalLink(elsewhere(path), "1")})),
        "is a link (",
    ),
    "link to a file that is not there": (
        instead(lambda group, _: group.update({"1": h5py.ExternalLink("none", "1")})),
        "is a link (",
    ),
    "link inside the file": (
        instead(lambda group, _: group.update({"1": h5py.SoftLink("/layers/dense_1/vars/1")})),
        "is a link (",
    ),
    "link to itself": (
        instead(lambda group, _: group.update({"1": h5py.SoftLink("/layers/dense/vars/1")})),
        "is a link (",
    ),
    "group that links to another file": (
        hdf5(lambda file, _: file.update({"x": h5py.ExternalLink("none", "/")})),
        "is a link (",
    ),
    "group inside itself": (hdf5(lambda file, group: group.update({"x": file["layers"]})), "address of another object"),
    "array under two names": (hdf5(lambda file, group: group.update({"2": group["1"]})), "address of another object"),
    "array in another file": (
        instead(lambda group, path: three_numbers(group, external=elsewhere(path))),
        "in another file",
    ),
    "array of parts of other files": (instead(virtual), "in another file"),
    "array of 4 GB that was never written": (
        instead(lambda group, _: three_numbers(group, shape=(2**30,))),
        "are stored",
    ),
    "array of 2^60 that was never written": (
        instead(lambda group, _: three_numbers(group, shape=(2**60,))),
        "are stored",
    ),
    "array of 4 GB in packed parts": (
        instead(lambda group, _: three_numbers(group, shape=(2**30,), chunks=(2**20,), compression="gzip")),
        "is compressed, which Keras does not do",
    ),
    "array that may grow": (
        instead(lambda group, _: three_numbers(group, maxshape=(None,), chunks=(3,))),
        "is compressed, which Keras does not do",
    ),
    "array in packed parts": (
        instead(lambda group, _: three_numbers(group, data=np.ones(3), compression="gzip")),
        "is compressed, which Keras does not do",
    ),
    "array of words": (
        instead(lambda group, _: three_numbers(group, dtype=h5py.string_dtype())),
        "which is not numeric",
    ),
    "array of references": (
        instead(lambda group, _: three_numbers(group, dtype=h5py.ref_dtype)),
        "which is not numeric",
    ),
    "array of records": (
        instead(lambda group, _: three_numbers(group, dtype=np.dtype("f4,f4"))),
        "which is not numeric",
    ),
    "array of 8 bytes without a type": (
        instead(lambda group, _: three_numbers(group, dtype=np.dtype("V8"))),
        "which is not numeric",
    ),
    "array without a shape": (
        instead(lambda group, _: group.create_dataset("1", data=h5py.Empty("f4"))),
        "HDF5 cannot read it",
    ),
    "array of whole numbers": (
        instead(lambda group, _: three_numbers(group, data=np.ones(3, np.int32))),
        "but the model 'theirs' needs",
    ),
    "array of another shape": (
        instead(lambda group, _: three_numbers(group, data=np.ones((3, 1), np.float32))),
        "but the model 'theirs' needs",
    ),
    "array that is a group": (instead(lambda group, _: group.create_group("1")), "in only one of the two"),
    "array that is a type": (
        instead(lambda group, _: group.update({"1": np.dtype("f4")})),
        "neither a group nor an array",
    ),
    "array less": (instead(lambda group, _: None), "in only one of the two"),
    "array more": (
        hdf5(lambda file, group: group.create_dataset("7", data=np.ones(3, np.float32))),
        "in only one of the two",
    ),
    "groups as deep as 500": (hdf5(lambda file, _: nested(file)), "objects, or nests them more than"),
    "attribute of 30 kB": (
        hdf5(lambda file, group: group.attrs.update({"name": np.zeros(30_000, "u1")})),
        "attributes that Keras",
    ),
    "a hundred attributes": (
        hdf5(lambda file, group: group.attrs.update({str(n): n for n in range(100)})),
        "attributes that Keras",
    ),
}
