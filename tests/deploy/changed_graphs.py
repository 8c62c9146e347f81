"""An exported ONNX file with one fault: each is a way in which exporters have been wrong."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def changed(content: bytes, fault: str) -> bytes:
    """Return the file with one of `FAULTS`."""
    model = onnx.load_model_from_string(content)
    FAULTS[fault](model)
    return model.SerializeToString()


def _constants(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Weights of two axes or more, the largest first."""
    floats = [one for one in model.graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) > 1]
    return sorted(floats, key=lambda one: -int(np.prod(one.dims)))


def _set(one: onnx.TensorProto, values: np.ndarray) -> None:
    one.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), one.name))


def _at_the_input(*operations):
    """Insert operations behind the first input. operations: functions from (graph, name) to nodes and a new name."""

    def plant(model):
        graph = model.graph
        name = graph.input[0].name
        nodes, last = [], name
        for operation in operations:
            made, last = operation(graph, last)
            nodes += made
        for node in graph.node:
            for place, used in enumerate(node.input):
                node.input[place] = last if used == name else used
        for place, node in enumerate(nodes):
            graph.node.insert(place, node)

    return plant


def _at_the_output(*operations):
    """Insert operations before the first output."""

    def plant(model):
        graph = model.graph
        name = graph.output[0].name
        for node in graph.node:
            for place, made in enumerate(node.output):
                node.output[place] = "right" if made == name else made
        last = "right"
        for operation in operations:
            nodes, last = operation(graph, last)
            graph.node.extend(nodes)
        graph.node.append(helper.make_node("Identity", [last], [name]))

    return plant


def _constant(graph, name, values):
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def _times(factor):
    def operation(graph, name):
        made = _constant(graph, f"{name}_factor", np.float32(factor))
        return [helper.make_node("Mul", [name, made], [f"{name}_times"])], f"{name}_times"

    return operation


def _minus_the_mean_of_the_batch(graph, name):
    nodes = [
        helper.make_node("ReduceMean", [name, _constant(graph, "batch_axis", np.array([0]))], ["mean"], keepdims=1),
        helper.make_node("Sub", [name, "mean"], ["centred"]),
    ]
    return nodes, "centred"


def _first_row_only(graph, name):
    nodes = [
        helper.make_node("Mul", [name, _constant(graph, "zero", np.float32(0))], ["zeros"]),
        helper.make_node("Add", ["zeros", _constant(graph, "guess", np.float32(0.1))], ["guesses"]),
    ]
    return nodes, "guesses"


def _reshaped_to(*shape):
    def operation(graph, name):
        return [helper.make_node("Reshape", [name, _constant(graph, "shape", np.array(shape))], ["shaped"])], "shaped"

    return operation


def _transposed(graph, name):
    return [helper.make_node("Transpose", [name], ["turned"], perm=[0, 2, 1, 3])], "turned"


def _coarse(graph, name):
    scales = [
        _constant(graph, word, np.array(values, np.float32))
        for word, values in (("smaller", [1, 1, 0.5, 0.5]), ("larger", [1, 1, 2, 2]))
    ]
    nodes = [
        helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["first", "", scales[0]], ["small"], mode="linear"),
        helper.make_node("Resize", ["small", "", scales[1]], ["large"], mode="nearest"),
        helper.make_node("Transpose", ["large"], ["last"], perm=[0, 2, 3, 1]),
    ]
    return nodes, "last"


def _one_step(graph, name):
    places = [_constant(graph, word, np.array([place])) for word, place in (("start", 0), ("end", 1), ("axis", 1))]
    nodes = [
        helper.make_node("Shape", [name], ["sizes"]),
        helper.make_node("Slice", [name, *places], ["step"]),
        helper.make_node("Expand", ["step", "sizes"], ["repeated"]),
    ]
    return nodes, "repeated"


def _rounded(dtype):
    def plant(model):
        for one in _constants(model):
            values = numpy_helper.to_array(one)
            if dtype == "float16":
                _set(one, values.astype(np.float16).astype(np.float32))
            else:  # bfloat16: the upper half of the bits
                _set(one, (values.view(np.uint32) & 0xFFFF0000).view(np.float32))

    return plant


def _transpose_a_kernel(model):
    square = [one for one in _constants(model) if len(one.dims) == 2]
    values = numpy_helper.to_array(square[0])
    _set(square[0], values.T.reshape(values.shape))


def _stale_weight(model):
    one = _constants(model)[-1]
    values = numpy_helper.to_array(one).copy()
    values.flat[values.size // 2] *= 1.01
    values.flat[values.size // 3] += 1e-3
    _set(one, values)


def _swap_labels(model):
    [one] = [one for one in model.metadata_props if one.key == "unidl.class_names"]
    first, second, rest = one.value.strip("[]").split(", ", 2)
    one.value = f"[{second}, {first}, {rest}]"


def _foreign_operation(model):
    model.opset_import.append(helper.make_opsetid("flex", 1))
    _at_the_output(lambda graph, name: ([helper.make_node("Flex", [name], ["flexed"], domain="flex")], "flexed"))(model)


FAULTS = {
    "a constant graph": _at_the_output(_first_row_only),
    "batch normalization in training mode": _at_the_output(_minus_the_mean_of_the_batch),
    "swapped labels": _swap_labels,
    "float16 said to be float32": _rounded("float16"),
    "bfloat16 said to be float32": _rounded("bfloat16"),
    "operations of another framework": _foreign_operation,
    "dropped preprocessing": _at_the_input(_times(1 / 255)),
    "a fixed batch": _at_the_input(_reshaped_to(1, 8, 8, 1)),
    "a transposed kernel": _transpose_a_kernel,
    "a wrong resize": _at_the_input(_coarse),
    "a stale weight": _stale_weight,
    "height and width exchanged": _at_the_input(_transposed),
}
"""Of a CNN on images of 8 x 8."""
OF_TEXT = {"time baked to 1": _at_the_input(_one_step)}
FAULTS |= OF_TEXT
