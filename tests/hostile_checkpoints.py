"""Checkpoints as nobody but an enemy would write them, by name: what each does to a good one, and
what the error says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_directories import DEEP, link, manifest, names, sealed, special


def progress(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Another progress. change: the old one to the new one, or to its text."""

    def write(path: Path) -> None:
        found = change(json.loads((path / "progress.json").read_text()))
        sealed(path, progress=found.encode() if isinstance(found, str) else json.dumps(found).encode())

    return write


def says(**values: Any) -> Callable[[Path], None]:
    return progress(lambda found: found | values)


def remembers(**values: Any) -> Callable[[Path], None]:
    """Something else in the memory of a callback."""
    return says(callbacks=[{"class": "EarlyStopping", "values": values}])


def state(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    """Other variables of the optimizer."""

    def write(path: Path) -> None:
        from safetensors.numpy import load, save

        sealed(path, state=save(change(load((path / "state.safetensors").read_bytes()))))

    return write


RATE = "optimizers/optimizer/00001"
CHECKPOINTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "state is a link": (link("state.safetensors", "../mine-{name}"), "is a link"),
    "progress is a link": (link("progress.json", "../mine-{name}"), "is a link"),
    "state is a pipe": (special("state.safetensors", os.mkfifo), "is not a regular file"),
    "manifest names a file above": (names("../secret"), "not a plain file name"),
    "manifest as deep as 100 000": (manifest(b"[" * DEEP + b"]" * DEEP), "deep"),
    "progress as deep as 100 000": (progress(lambda _: '{"a":' * DEEP + "1" + "}" * DEEP), "deep"),
    "progress with a key twice": (
        progress(lambda found: json.dumps(found).replace('"epoch"', '"epoch": 9, "epoch"')),
        "is repeated",
    ),
    "progress with another key": (says(code="import os"), "unexpected keyword"),
    "progress that is a list": (progress(lambda found: [found]), "it is not an object"),
    "epoch of -1": (says(epoch=-1), "is not a whole number of at least 0"),
    "epoch of NaN": (says(epoch=float("nan")), "is not a whole number of at least 0"),
    "epoch of 10^400": (says(epoch=10**400), "is not a whole number of at least 0"),
    "step that is true": (says(step=True), "is not a whole number of at least 0"),
    "history that is a list": (says(history=[1]), "is not an object"),
    "history of a number": (says(history={"loss": 1}), "something that is not a list"),
    "settings that are words": (says(settings="all"), "is not an object"),
    "stopped as a word": (says(stopped="no"), "neither true nor false"),
    "loss of 1e400": (progress(lambda found: json.dumps(found).replace("[1.0]", "[1e400]")), "is too large"),
    "callbacks that are words": (says(callbacks="all"), "'callbacks' is not a list"),
    "callback of another class": (
        says(callbacks=[{"class": "os.system", "values": {}}]),
        "these are ['EarlyStopping']",
    ),
    "callback with code": (
        says(callbacks=[{"class": "EarlyStopping", "values": {}, "code": "import os"}]),
        "must be exactly a class and values",
    ),
    "callback with 10^12 arrays": (remembers(best_weights={"arrays": 10**12}), "neither a value nor an array"),
    "callback with an array that is not there": (
        remembers(best_weights={"array": True}),
        "do not match their states",
    ),
    "callback with a value that is none": (remembers(best={"pickle": "gAQ="}), "neither a value nor an array"),
    "callback with another attribute": (remembers(model={"value": 5}), "never stores"),
    "callback that waits for a word": (remembers(wait={"value": "long"}), "never stores"),
    "callback that remembers other callbacks": (remembers(best={"value": {"a": [1]}}), "never stores"),
    "no variable of the optimizer": (state(lambda _: {"x": np.zeros(1, np.float32)}), "another optimizer"),
    "variable of the optimizer more": (
        state(lambda found: found | {"optimizers/x/00000": np.zeros(1, np.float32)}),
        "another optimizer",
    ),
    "variable of the optimizer of another shape": (
        state(lambda found: found | {RATE: np.zeros((9, 9), np.float32)}),
        "has the shape",
    ),
    "variable of the optimizer of another type": (
        state(lambda found: found | {RATE: np.zeros((), np.int64)}),
        "has the shape",
    ),
    "array of a callback that nobody speaks of": (
        state(lambda found: found | {"callbacks/0/x/00000": np.zeros(1)}),
        "do not match their states",
    ),
    "state that is a pickle": (lambda path: sealed(path, state=b"\x80\x04cos\nsystem\n(S'true'\ntR."), "a header of"),
}
