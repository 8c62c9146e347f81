"""Descriptions of models as nobody but an enemy would write them, by name: what each does to a directory with a model,
and what the error says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_directories import DEEP, sealed


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
DESCRIPTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "description as deep as 100 000": (described(lambda _: "[" * DEEP + "]" * DEEP), "deep"),
    "description of 3 million values": (
        described(lambda found: {**found, "frozen": [0] * 3_000_000}),
        "more than 2,000,000 values",
    ),
    "description of 40 MB": (described(lambda found: json.dumps(found) + " " * 40_000_000), "bytes; at most"),
    "description with a key twice": (replaced('"builder"', '"builder": "lstm", "builder"'), "is repeated"),
    "description with another key": (
        described(lambda found: {**found, "code": "import os"}),
        "its keys are ['arguments'",
    ),
    "builder os.system": (described(lambda found: {**found, "builder": "os.system"}), "unknown builder"),
    "builder __import__": (described(lambda found: {**found, "builder": "__import__"}), "unknown builder"),
    "builder in Keras's words without trust": (
        described(
            lambda found: {key: found[key] for key in ("class_names", "vocabulary", "frozen")} | {"keras": SYSTEM}
        ),
        "loaded only if you trust them",
    ),
    "argument that is a function": (asked(dense_units=SYSTEM), "whole number of at least"),
    "units of 4 billion": (asked(dense_units=4 * 10**9), "parameters, but its file"),
    "units of 100 million": (asked(dense_units=10**8), "parameters, but its file"),
    "units of 10^400": (asked(dense_units=10**400), "whole number of at most"),
    "units of 10^5000": (replaced('"dense_units": 4', '"dense_units": 1' + "0" * 5000), "integer string conversion"),
    "units of -1": (asked(dense_units=-1), "whole number of at least"),
    "units of NaN": (asked(dense_units=float("nan")), "is not a JSON number"),
    "units of 1e400": (replaced('"dense_units": 4', '"dense_units": 1e400'), "is too large"),
    "units that are true": (asked(dense_units=True), "whole number of at least"),
    "share of NaN": (asked(dropout=float("nan")), "is not a JSON number"),
    "a million filters": (asked(filters=[1] * 10**6), "at most 32 are allowed"),
    "33 filters": (asked(filters=[1] * 33, input_shape=[2**52, 2**52, 1]), "at most 32 are allowed"),
    "kernel of a billion": (asked(kernel_size=10**9, input_shape=[10**9, 10**9, 1]), "images of at least"),
    "images of 10^12 pixels": (asked(input_shape=[10**6, 10**6, 1]), "parameters, but its file"),
    "images of 10^36 pixels": (asked(input_shape=[10**12, 10**12, 10**12]), "parameters, but its file"),
    "seed of -1": (asked(seed=-1), "whole number of at least"),
    "seed of 10^300": (asked(seed=10**300), "whole number of at most"),
    "name that is a path": (asked(name="../../secret"), "a non-empty string without '/'"),
    "precision that is a path": (asked(precision="../../secret"), "unknown precision"),
    "a billion layers": (lstm(layers=10**9), "whole number of at most"),
    "33 layers": (lstm(layers=33), "whole number of at most"),
    "a vocabulary of 10^12 words": (lstm(vocabulary_size=10**12), "parameters, but its file"),
    "a sequence of 10^18 steps": (
        lstm(sequence_length=10**18, vocabulary_size=3, units=1, embedding_size=1),
        "whole number of at most",
    ),
    "features of 10^12": (lstm(vocabulary_size=None, features=10**12, targets=1), "parameters, but its file"),
    "base that is a path": (transfer("../run"), "nor a network of keras.applications"),
    "base of 300 million weights": (transfer("ConvNeXtXLarge"), "more weights than its file contains"),
    "base of 1000 layers": (transfer("EfficientNetB7"), "more weights than its file contains"),
    "base without an end": (transfer(tower(40)), "more than 3 deep"),
    "base on 4 bases": (transfer(tower(4)), "more than 3 deep"),
    "base with a head of 10^9 weights": (
        transfer(
            {"builder": "cnn", "arguments": {"dense_units": 10**6, "input_shape": [64, 64, 1]}}, pooling="average"
        ),
        "do not match",
    ),
    "base with features of 10^8": (
        transfer(
            {"builder": "cnn", "arguments": {"filters": [1], "input_shape": [10**4, 10**4, 1]}}, pooling="average"
        ),
        "parameters, but its file",
    ),
    "weights of the base in a file": (transfer("VGG16", weights="/etc/passwd"), "more weights than its file contains"),
    "frozen layers that are not there": (
        described(lambda found: {**found, "frozen": ["../secret"]}),
        "has no such layer",
    ),
}
