"""Export of a model's inference from TensorFlow: to ONNX by tf2onnx, to LiteRT, and as a SavedModel."""

from __future__ import annotations

import io
import logging
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from unidl.errors import ModelError

OPSET = 18
"""Of ONNX: TensorRT 10 parses 9 to 20, and tf2onnx 1.17 writes up to 18."""


def export(model: keras.Model, kind: str) -> bytes:
    """Return a model as the content of one file."""
    return KINDS[kind](model)


def _onnx(model: keras.Model) -> bytes:
    import tf2onnx  # pyright: ignore[reportMissingImports] - an extra

    logging.getLogger("tf2onnx").setLevel(
        logging.CRITICAL
    )  # it also reports Erfc, which `unidl.deploy.onnx_file` replaces
    function, specs = _function(model)
    found, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    return found.SerializeToString()


def _litert(model: keras.Model) -> bytes:
    module: Any = tf.Module()
    # The converter takes the values of variables that the module tracks, and NaN for those it does not.
    module.weights = [variable.value for variable in model.variables]
    function, _ = _function(model, named=True)
    module.call = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return converter.convert()
    except Exception as error:  # the converter raises an error of a private class, over many lines
        said = [line.strip() for line in str(error).splitlines() if "op:" in line or "op is neither" in line]
        reason = said[0] if said else str(error).strip().partition("\n")[0]
        raise ModelError(
            f"Cannot export the model '{model.name}' to LiteRT: its own operations cannot express it ({reason[:200]}). "
            "Export to onnx."
        ) from error


def _saved_model(model: keras.Model) -> bytes:
    """A zip of the folder, with the model's names in the signature "serving_default"."""
    module: Any = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.infer, _ = _function(model)
    named, _ = _function(model, named=True)
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=named.get_concrete_function())
        with zipfile.ZipFile(content, "w") as archive:
            for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                archive.write(file, file.relative_to(folder).as_posix())
    return content.getvalue()


def _function(model: keras.Model, *, named: bool = False) -> tuple[Any, list[tf.TensorSpec]]:
    """Return the inference as a function of its flat inputs, any number of rows, and its signature. named: whether the
    outputs are returned by name instead of in order."""
    specs = [tf.TensorSpec([None, *one.shape[1:]], one.dtype, name=one.name) for one in model.inputs]
    structure: Any = model.input

    def infer(*flat: Any) -> Any:
        outputs = keras.tree.flatten(model(keras.tree.pack_sequence_as(structure, list(flat)), training=False))
        outputs = [tf.identity(one) for one in outputs]  # an output may be an input, which some formats forbid
        return dict(zip(model.output_names, outputs, strict=True)) if named else outputs

    return tf.function(infer, input_signature=specs, autograph=False), specs


KINDS: dict[str, Callable[[keras.Model], bytes]] = {
    "onnx": _onnx,
    "litert": _litert,
    "saved-model": _saved_model,
}
