"""Export of a model's inference from PyTorch: to .pt2 by torch.export, and to ONNX."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import keras
import torch

from unidl.errors import ModelError

ROWS = 3
"""Rows of the traced example: 0 and 1 would be traced as constants."""
LENGTH = 5
"""Size of the other free axes in the example."""
OPSET = 18
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What PyTorch's messages contain for terminals."""


class _Inference(torch.nn.Module):
    """The inference of a Keras model, as a function of its flat inputs."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.structure: Any = model.input

    def forward(self, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = keras.tree.pack_sequence_as(self.structure, list(flat))
        return tuple(keras.tree.flatten(self.model(rows, training=False)))


def export(model: keras.Model, kind: str) -> bytes:
    """Return a model as the content of one file."""
    try:
        with torch.no_grad():
            return KINDS[kind](model)
    except Exception as error:  # torch.export and its ONNX exporter raise errors of many classes, over many lines
        reason = " ".join(re.sub(COLOUR, "", str(error)).split())[:200]
        raise ModelError(
            f"Cannot export the model '{model.name}' from PyTorch: {reason}. Export with another installed backend, or "
            "to another format."
        ) from error


def _pt2(model: keras.Model) -> bytes:
    found = torch.export.export(_Inference(model).eval(), _example(model), dynamic_shapes=(_dynamic(model),))
    file = io.BytesIO()
    torch.export.save(found, file)
    return file.getvalue()


def _onnx(model: keras.Model) -> bytes:
    found: Any = torch.onnx.export(
        _Inference(model).eval(),
        _example(model),
        dynamo=True,
        dynamic_shapes=(_dynamic(model),),
        opset_version=OPSET,
        verbose=False,
    )
    return found.model_proto.SerializeToString()


def _example(model: keras.Model) -> tuple[torch.Tensor, ...]:
    shapes = [(ROWS, *(LENGTH if size is None else size for size in one.shape[1:])) for one in model.inputs]
    return tuple(
        torch.ones(shape, dtype=getattr(torch, keras.backend.standardize_dtype(one.dtype)))
        for shape, one in zip(shapes, model.inputs, strict=True)
    )


def _dynamic(model: keras.Model) -> tuple[dict[int, Any], ...]:
    """Return for each input its axes of any size."""
    return tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(one.shape) if size is None} for one in model.inputs
    )


KINDS: dict[str, Callable[[keras.Model], bytes]] = {"onnx": _onnx, "pt2": _pt2}
