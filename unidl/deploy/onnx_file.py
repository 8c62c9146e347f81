"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.computes import Interface, Tensor
from unidl.deploy.format import Arrays, Exporter, Facts, Files, Format, Model, Opened, Runtime
from unidl.deploy.onnx_in_fewer_bits import FILE, PREFIX, in_float16, in_int8
from unidl.errors import ModelError

if TYPE_CHECKING:
    import onnx  # pyright: ignore[reportMissingImports] - an extra

INSTALL = "pip install 'unidl[onnx]'"
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def finish(content: bytes, interface: Interface, facts: Facts) -> Files:
    """Return the file with our names of inputs, outputs and axes, and with the facts as its metadata."""
    import onnx  # pyright: ignore[reportMissingImports] - an extra

    model = onnx.load_model_from_string(content)
    graph = model.graph
    stored = {one.name for one in graph.initializer}
    _rename(graph, [one for one in graph.input if one.name not in stored], interface.inputs)
    _rename(graph, graph.output, interface.outputs)
    _without_erfc(graph)
    del graph.value_info[:]  # inferred shapes may name axes by the old names
    model.producer_name = "unidl"
    for name, value in facts.items():
        model.metadata_props.add(key=PREFIX + name, value=value)
    onnx.checker.check_model(model)
    return {FILE: model.SerializeToString()}


def open_onnx(files: Files, interface: Interface) -> Opened:
    """Load a file in ONNX Runtime, on the CPU."""
    import onnxruntime  # pyright: ignore[reportMissingImports] - an extra

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session: Any = onnxruntime.InferenceSession(files[FILE], options, providers=["CPUExecutionProvider"])
    inputs = [_tensor(one) for one in session.get_inputs()]
    outputs = [_tensor(one) for one in session.get_outputs()]
    names = [one.name for one in inputs]

    def compute(arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        return session.run(None, dict(zip(names, arrays, strict=True)))

    kept = session.get_modelmeta().custom_metadata_map
    facts = {name.removeprefix(PREFIX): value for name, value in kept.items() if name.startswith(PREFIX)}
    versions = {"onnxruntime": onnxruntime.__version__}
    return Opened(Interface(tuple(inputs), tuple(outputs)), compute, facts, versions)


def _tensor(one: Any) -> Tensor:
    """Return an input or output of a session; an axis of any size has a name or None for its size."""
    shape = tuple(size if isinstance(size, int) else None for size in one.shape)
    return Tensor(one.name, shape, TYPES.get(one.type, str(one.type)))


def why_not(model: Model, backend: str) -> str | None:
    """Return why the file of a backend would be wrong."""
    if backend == "torch" and model.interface.has_free_length:
        return (
            "PyTorch's exporter traces one length and calls the axis free, so the file is wrong for every other "
            "length. Install TensorFlow, which exports such models (pip install 'unidl[tensorflow]'), or build the "
            "model with a fixed sequence_length"
        )
    return None


def _rename(graph: onnx.GraphProto, declared: Sequence[Any], wanted: Sequence[Tensor]) -> None:
    """Give inputs or outputs our names and axes, everywhere in the graph."""
    if len(declared) != len(wanted):
        raise ModelError(f"The exporter wrote {len(declared)} inputs or outputs where the model has {len(wanted)}.")
    names = {one.name: tensor.name for one, tensor in zip(declared, wanted, strict=True)}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - set(names)
    inner = {name: f"{name}__inner" for name in names.values() if name in taken}
    _replace(graph, inner)
    _replace(graph, names)
    for one, tensor in zip(declared, wanted, strict=True):
        one.name = tensor.name
        axes = one.type.tensor_type.shape
        del axes.dim[:]
        for axis in tensor.axes:
            if isinstance(axis, int):
                axes.dim.add(dim_value=axis)
            else:
                axes.dim.add(dim_param=axis)


def _replace(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Replace names of values in the nodes of a graph, in its inner graphs, and among its constants."""
    for node in graph.node:
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = names.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _replace(attribute.g, names)
    for one in graph.initializer:
        one.name = names.get(one.name, one.name)


def _without_erfc(graph: onnx.GraphProto) -> None:
    """Replace Erfc, which tf2onnx 1.17 writes for GELU though ONNX lacks it, by 1 - Erf."""
    import onnx  # pyright: ignore[reportMissingImports] - an extra

    nodes = list(graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "unidl_one"))
    del graph.node[:]
    for number, node in enumerate(nodes):
        if node.op_type != "Erfc":
            graph.node.append(node)
            continue
        inner = f"unidl_erf_{number}"
        graph.node.append(onnx.helper.make_node("Erf", node.input, [inner], name=inner))
        graph.node.append(onnx.helper.make_node("Sub", ["unidl_one", inner], node.output, name=f"unidl_erfc_{number}"))


ONNX = Format(
    name="onnx",
    title="ONNX",
    files=(FILE,),
    exporters=(
        Exporter("tensorflow", "onnx", {"tf2onnx": INSTALL, "onnx": INSTALL}),
        Exporter("torch", "onnx", {"onnxscript": INSTALL, "onnx": INSTALL}),
    ),
    runtime=Runtime("ONNX Runtime", "onnxruntime", INSTALL, open_onnx),
    finish=finish,
    why_not=why_not,
    in_fewer_bits={"float16": in_float16, "int8": in_int8},
)
