"""Formats that only the framework that wrote them runs: StableHLO of JAX, .pt2 of PyTorch, SavedModel of
TensorFlow. None needs Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unidl import registry
from unidl.computes import Interface
from unidl.deploy.format import Arrays, Exporter, Facts, Files, Format, Model, Opened, Runtime


def _as_it_is(file: str) -> Callable[[bytes, Interface, Facts], Files]:
    """Return a function that stores what the exporter wrote under a name; the facts lie beside it in export.json."""

    def finish(content: bytes, interface: Interface, facts: Facts) -> Files:
        return {file: content}

    return finish


def _opened(backend: str, kind: str, file: str) -> Callable[[Files, Interface], Opened]:
    """Return a function that loads a file in the framework of an adapter, without Keras."""

    def open_file(files: Files, interface: Interface) -> Opened:
        adapter = registry.adapters()[backend]
        run, versions = adapter.runtimes[kind](files[file])

        def compute(arrays: Arrays) -> list[np.ndarray[Any, Any]]:
            return [np.asarray(one) for one in run(arrays)]

        return Opened(interface, compute, None, versions)

    return open_file


def why_not_pt2(model: Model, backend: str) -> str | None:
    """Return why it cannot be held: torch.export writes time steps one by one."""
    if model.interface.has_free_length and model.is_recurrent:
        return (
            "torch.export writes the steps of a recurrent layer one by one, so it needs a fixed length, and this model "
            "takes any. Build it with a fixed sequence_length, or export to onnx"
        )
    return None


STABLEHLO = Format(
    name="stablehlo",
    title="StableHLO",
    files=("model.stablehlo",),
    exporters=(Exporter("jax", "stablehlo", {"flatbuffers": "pip install flatbuffers"}),),  # which jax.export asks for
    runtime=Runtime(
        "JAX", "jax", "pip install 'unidl[jax]'", _opened("jax", "stablehlo", "model.stablehlo"), backend="jax"
    ),
    finish=_as_it_is("model.stablehlo"),
)

PT2 = Format(
    name="pt2",
    title="PyTorch's .pt2",
    files=("model.pt2",),
    exporters=(Exporter("torch", "pt2", {}),),
    runtime=Runtime("PyTorch", "torch", "pip install 'unidl[torch]'", _opened("torch", "pt2", "model.pt2"), "torch"),
    finish=_as_it_is("model.pt2"),
    why_not=why_not_pt2,
    runs_code=True,
)

SAVED_MODEL = Format(
    name="saved-model",
    title="TensorFlow's SavedModel",
    files=("saved_model.zip",),
    exporters=(Exporter("tensorflow", "saved-model", {}),),
    runtime=Runtime(
        "TensorFlow",
        "tensorflow",
        "pip install 'unidl[tensorflow]'",
        _opened("tensorflow", "saved-model", "saved_model.zip"),
        backend="tensorflow",
    ),
    finish=_as_it_is("saved_model.zip"),
    runs_code=True,  # its operations can read and write files
)
