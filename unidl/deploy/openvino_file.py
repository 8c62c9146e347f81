"""OpenVINO's own files, converted from ONNX and run by OpenVINO."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from unidl.computes import Interface, Tensor
from unidl.deploy import onnx_file
from unidl.deploy.format import Arrays, Exporter, Facts, Files, Format, Opened, Runtime

GRAPH, WEIGHTS = "model.xml", "model.bin"
INSTALL = "pip install 'unidl[openvino]'"
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
"""On processors with bfloat16, OpenVINO would otherwise compute in it, with errors of about 1e-2."""
SECTION = "unidl"
TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i32": "int32", "i64": "int64", "u8": "uint8"}


def finish(content: bytes, interface: Interface, facts: Facts) -> Files:
    """Convert an ONNX file, with weights in float32: OpenVINO's own `save_model` would round them to float16."""
    openvino = _openvino()

    [onnx] = onnx_file.finish(content, interface, {}).values()
    model = openvino.Core().read_model(onnx)
    for name, value in facts.items():
        model.set_rt_info(value, [SECTION, name])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in (GRAPH, WEIGHTS)]
        openvino.serialize(model, *map(str, paths))
        return {path.name: path.read_bytes() for path in paths}


def open_openvino(files: Files, interface: Interface) -> Opened:
    """Load a file in OpenVINO, on the CPU, to compute in float32."""
    openvino = _openvino()

    core = openvino.Core()
    weights = openvino.Tensor(np.frombuffer(files[WEIGHTS], np.uint8))
    model = core.read_model(files[GRAPH], weights)
    compiled = core.compile_model(model, "CPU", SETTINGS)

    def compute(arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        found = compiled(list(arrays))
        return [np.array(found[number]) for number in range(len(compiled.outputs))]

    inputs, outputs = (tuple(map(_tensor, ports)) for ports in (model.inputs, model.outputs))
    facts = {name: str(value) for name, value in _section(model).items()}
    return Opened(Interface(inputs, outputs), compute, facts, {"openvino": openvino.__version__.partition("-")[0]})


def _openvino() -> Any:
    """Import OpenVINO without its telemetry: at import it forks this process to send statistics, and the fork of a
    process with threads, as a framework has, may wait for ever."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType] - as if not installed
    return importlib.import_module("openvino")


def _section(model: Any) -> dict[str, Any]:
    return dict(model.get_rt_info(SECTION).value) if model.has_rt_info(SECTION) else {}


def _tensor(port: Any) -> Tensor:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    kind = str(port.element_type.get_type_name())
    return Tensor(port.any_name, shape, TYPES.get(kind, kind))


OPENVINO = Format(
    name="openvino",
    title="OpenVINO",
    files=(GRAPH, WEIGHTS),
    exporters=tuple(
        Exporter(one.backend, one.kind, {**dict.fromkeys(one.modules, INSTALL), "openvino": INSTALL})
        for one in onnx_file.ONNX.exporters
    ),
    runtime=Runtime("OpenVINO", "openvino", INSTALL, open_openvino),
    finish=finish,
    why_not=onnx_file.why_not,
)
