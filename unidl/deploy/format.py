"""The `Format` value: everything unidl knows about a kind of exported file, declared in the format's own file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from unidl.computes import Interface

Arrays: TypeAlias = Sequence[np.ndarray[Any, Any]]
Files: TypeAlias = dict[str, bytes]
Facts: TypeAlias = Mapping[str, str]
"""What a file says about itself, by name, as class names in JSON; see `unidl.deploy.description`."""


@dataclass(frozen=True)
class Opened:
    """An exported file that a runtime has loaded; implements `unidl.computes.Computes`.

    compute: returns the outputs for a batch. interface: as the file declares it. facts: as stored in the file; None
    for a format that holds none. versions: of the runtime, by distribution.
    """

    interface: Interface
    compute: Callable[[Arrays], list[np.ndarray[Any, Any]]]
    facts: Facts | None
    versions: Mapping[str, str]

    def outputs(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the outputs for a batch of rows."""
        return self.compute(inputs)


@dataclass(frozen=True)
class Runtime:
    """What runs the files of a format.

    name: for messages. module: that must be installed. install: the command that installs it. open: loads files, whose
    interface is given for formats that do not store it. backend: the adapter whose framework is the runtime; None for a
    runtime that needs no framework.
    """

    name: str
    module: str
    install: str
    open: Callable[[Files, Interface], Opened]
    backend: str | None = None

    def why_not(self) -> str | None:
        """Return why it cannot be used; None if it can."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return f"{self.name} is not installed: {self.install}"


@dataclass(frozen=True)
class Exporter:
    """A backend that writes a format. kind: what it is asked for (`unidl.backend.Exports`). modules: needed besides the
    framework, each with the command that installs it."""

    backend: str
    kind: str
    modules: Mapping[str, str]


@dataclass(frozen=True)
class Model:
    """What decides whether a format can hold a model. layers: the class names of its layers."""

    interface: Interface
    layers: frozenset[str]

    @property
    def is_recurrent(self) -> bool:
        """Whether it has layers that run over time steps."""
        return bool(self.layers & {"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})


@dataclass(frozen=True)
class Format:
    """A kind of exported file.

    name: as in `unidl export RUN --to NAME`. title: for messages. files: their names. exporters: best first. finish:
    turns what the exporter wrote into the files, given the interface and the facts to store. why_not: returns why it
    cannot hold a model exported by a backend, and what to do; None if it can. unrolls: whether recurrent layers of a
    fixed length are written step by step. runs_code: whether loading such a file can run code that it holds, so that
    only trusted ones are loaded. in_fewer_bits: by precision, what makes such files of those in float32 and of
    inputs on which the ranges of values are found.
    """

    name: str
    title: str
    files: tuple[str, ...]
    exporters: tuple[Exporter, ...]
    runtime: Runtime
    finish: Callable[[bytes, Interface, Facts], Files]
    why_not: Callable[[Model, str], str | None] = lambda model, backend: None
    unrolls: bool = False
    runs_code: bool = False
    in_fewer_bits: Mapping[str, Callable[[Files, Arrays], Files]] = field(default_factory=dict)
