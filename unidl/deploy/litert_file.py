"""LiteRT files (formerly TensorFlow Lite), with LiteRT's own operations only, run by its interpreter."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from unidl.computes import Interface, Tensor
from unidl.deploy.format import Arrays, Exporter, Facts, Files, Format, Model, Opened, Runtime
from unidl.machine.versions import version_of

FILE = "model.tflite"
INSTALL = "pip install 'unidl[litert]'"
SIGNATURE = "serving_default"


def finish(content: bytes, interface: Interface, facts: Facts) -> Files:
    """Return the file as it is: LiteRT has no place for our facts, which lie beside it in export.json."""
    return {FILE: content}


def open_litert(files: Files, interface: Interface) -> Opened:
    """Load a file in LiteRT's interpreter, on the CPU."""
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports] - an extra

    interpreter: Any = Interpreter(model_content=files[FILE])
    runner = interpreter.get_signature_runner(SIGNATURE)
    lock = threading.Lock()  # an interpreter holds its inputs and outputs

    def compute(arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        named = {tensor.name: value for tensor, value in zip(interface.inputs, arrays, strict=True)}
        with lock:
            found = runner(**named)
            return [np.array(found[tensor.name]) for tensor in interface.outputs]

    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    declared = Interface(
        tuple(_tensor(tensor.name, inputs) for tensor in interface.inputs),
        tuple(_tensor(tensor.name, outputs) for tensor in interface.outputs),
    )
    version = version_of("ai_edge_litert", ("ai-edge-litert",))
    return Opened(declared, compute, None, {"ai-edge-litert": version})


def why_not(model: Model, backend: str) -> str | None:
    """Return why it cannot be held: LiteRT plans its memory for one length."""
    if model.interface.has_free_length:
        return (
            "LiteRT plans its memory for rows of one length, and this model takes any. Build it with a fixed "
            "sequence_length, or export to onnx"
        )
    return None


def _tensor(name: str, details: dict[str, Any]) -> Tensor:
    """Return an input or output as the file declares it; one of another name has no shape and no dtype."""
    if name not in details:
        return Tensor(f"{name}: not in the file", (), "")
    found = details[name]
    shape = tuple(None if size < 0 else int(size) for size in found["shape_signature"])
    return Tensor(name, shape, np.dtype(found["dtype"]).name)


LITERT = Format(
    name="litert",
    title="LiteRT",
    files=(FILE,),
    exporters=(Exporter("tensorflow", "litert", {}),),
    runtime=Runtime("LiteRT", "ai_edge_litert", INSTALL, open_litert),
    finish=finish,
    why_not=why_not,
    unrolls=True,
)
