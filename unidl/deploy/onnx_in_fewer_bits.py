"""ONNX files in float16 and int8, made of a file in float32 without a framework."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unidl.deploy.format import Files
from unidl.deploy.precisions import FLOAT16, INT8

FILE = "model.onnx"
PREFIX = "unidl."
"""Prefix of the names of our facts among a file's metadata."""

RECURRENT = frozenset({"LSTM", "GRU", "RNN", "Loop", "Scan"})
"""Operations with weights that ONNX Runtime quantises only dynamically: the ranges of values are found in each run."""
OPSET = 13
"""Scales for each channel need at least this opset."""


def in_float16(files: Files, rows: Sequence[np.ndarray[Any, Any]]) -> Files:
    """Return the file with weights and products in float16; its inputs and outputs stay as they are."""
    import onnx  # pyright: ignore[reportMissingImports] - an extra
    from onnxruntime.transformers.float16 import (  # pyright: ignore[reportMissingImports] - an extra
        convert_float_to_float16,
    )

    model = convert_float_to_float16(onnx.load_model_from_string(files[FILE]), keep_io_types=True)
    _sort(model.graph)  # the conversion puts its casts at the end
    return _finished(model, FLOAT16)


def in_int8(files: Files, rows: Sequence[np.ndarray[Any, Any]]) -> Files:
    """Return the file with weights in int8, a scale for each output channel, and all zero points 0, as TensorRT wants.
    Models with recurrent layers keep their activations in float32. rows: inputs on which the ranges are found."""
    import onnx  # pyright: ignore[reportMissingImports] - an extra
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports] - an extra

    model = onnx.load_model_from_string(files[FILE])
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if version < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    names = [one.name for one in model.graph.input]
    operations = {node.op_type for node in model.graph.node}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        out = Path(folder) / FILE
        if operations & RECURRENT:
            quantization.quantize_dynamic(model, out, per_channel=True)
        else:
            quantization.quantize_static(
                model,
                out,
                _Rows(names, rows),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )
        return _finished(onnx.load_model(out), INT8)


def _sort(graph: Any) -> None:
    """Put the nodes of a graph in an order in which each comes after those that it needs."""
    made = {name for node in graph.node for name in node.output}
    waiting, order, ready = list(graph.node), [], set[str]()
    while waiting:
        able = [node for node in waiting if all(name in ready or name not in made for name in _needed(node))]
        if not able:
            return  # a loop, which the checker reports
        order += able
        ready |= {name for node in able for name in node.output}
        waiting = [node for node in waiting if not any(node is one for one in able)]
    del graph.node[:]
    graph.node.extend(order)


def _needed(node: Any) -> Iterator[str]:
    """Yield the values that a node, or a graph inside it, reads."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            yield from _needed(inner)


class _Rows:
    """Rows one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, names: Sequence[str], rows: Sequence[np.ndarray[Any, Any]]) -> None:
        self._rows: Iterator[dict[str, np.ndarray[Any, Any]]] = (
            {name: leaf[row : row + 1] for name, leaf in zip(names, rows, strict=True)} for row in range(len(rows[0]))
        )

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return next(self._rows, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Do nothing: all rows are read in turn."""


def _finished(model: Any, precision: str) -> Files:
    """Return the file, which says its precision and that we made it."""
    import onnx  # pyright: ignore[reportMissingImports] - an extra

    model.producer_name = "unidl"
    for one in model.metadata_props:
        if one.key == f"{PREFIX}precision":
            one.value = precision
    onnx.checker.check_model(model)
    return {FILE: model.SerializeToString()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the quantiser logs about models that were not prepared by its own tool."""
    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(before)
