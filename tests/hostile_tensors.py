"""Files of safetensors as nobody but an enemy would write them, by name: what each does to a directory with a model,
and what the error says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_directories import DEEP, sealed


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


TENSORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (lambda run: sealed(run, weights=b""), "a header of"),
    "weights that are a pickle": (
        lambda run: sealed(run, weights=b"\x80\x04cos\nsystem\n(S'true'\ntR."),
        "a header of",
    ),
    "header longer than the file": (tensors({"a": tensor()}, bytes(4), length=10**6), "a header of"),
    "header of 2^63 bytes": (tensors({"a": tensor()}, bytes(4), length=2**63), "a header of"),
    "header as deep as 100 000": (tensors(b'{"a":' * DEEP + b"1" + b"}" * DEEP), "deep"),
    "header of 20 MB": (tensors(b" " * (20 * 2**20) + b"{}"), "at most 16,777"),
    "header that is a list": (tensors([tensor()], bytes(4)), "header is not a JSON object"),
    "header in UTF-16": (tensors(json.dumps({"a": tensor()}).encode("utf-16"), bytes(4)), "can't decode byte"),
    "tensor twice": (tensors(twice(tensor(), tensor()), bytes(4)), "is repeated"),
    "tensors one on the other": (
        tensors({"a": tensor((2,), (0, 8)), "b": tensor((2,), (4, 12))}, bytes(12)),
        "begins at byte",
    ),
    "hole between tensors": (tensors({"a": tensor(), "b": tensor((1,), (8, 12))}, bytes(12)), "begins at byte"),
    "hole before the first tensor": (tensors({"a": tensor((1,), (4, 8))}, bytes(8)), "begins at byte"),
    "bytes behind the last tensor": (tensors({"a": tensor()}, bytes(8)), "but the file"),
    "tensor behind the end": (tensors({"a": tensor((2,), (0, 8))}, bytes(4)), "but the file"),
    "tensor that ends before it begins": (tensors({"a": tensor((1,), (4, 0))}, bytes(4)), "do not fit its shape"),
    "shape of -1": (tensors({"a": tensor((-1, -1))}, bytes(4)), "must be whole numbers of at least 0"),
    "shape of 2^40": (tensors({"a": tensor((2**40,))}, bytes(4)), "has an invalid shape"),
    "shape of 2^40 without elements": (tensors({"a": tensor((2**40, 0), (0, 0))}), "has an invalid shape"),
    "shape whose product runs over 64 bits": (
        tensors({"a": tensor((2**31, 2**31, 4, 1), (0, 0))}),
        "do not fit its shape",
    ),
    "shape of 1.0": (tensors({"a": tensor((1.0,))}, bytes(4)), "must be whole numbers of at least 0"),
    "shape of true": (tensors({"a": tensor((True,))}, bytes(4)), "must be whole numbers of at least 0"),
    "shape of NaN": (tensors({"a": tensor((float("nan"),))}, bytes(4)), "is not a JSON number"),
    "shape of 100 dimensions": (tensors({"a": tensor((1,) * 100)}, bytes(4)), "has an invalid shape"),
    "offsets of three numbers": (tensors({"a": tensor((1,), (0, 4, 8))}, bytes(8)), "do not fit its shape"),
    "type that nobody has": (tensors({"a": tensor(kind="OBJECT")}, bytes(4)), "has dtype"),
    "type that is a list": (tensors({"a": tensor(kind=["F32"])}, bytes(4)), "has dtype"),
    "tensor with another key": (
        tensors({"a": tensor(file="/etc/passwd")}, bytes(4)),
        "must be exactly 'dtype', 'shape' and 'data_offsets'",
    ),
    "metadata that are no words": (tensors({"__metadata__": {"a": [1]}}), "metadata is not a mapping of strings"),
    "truths that are neither": (tensors({"a": tensor(kind="BOOL", offsets=(0, 1))}, b"\x02"), "neither true nor false"),
    "weights of a different model": (stored(other__kernel=np.zeros(3, np.float32)), "do not match"),
    "weight of another shape": (stored(logits__bias=np.zeros((1, 3), np.float32)), "and the model needs"),
    "weight of another type": (stored(logits__bias=np.zeros(3, np.int32)), "and the model needs"),
}
