"""The common start of all runs of a subject: weights and a batch, exchanged between processes as files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidl.agreement.subject import Subject
from unidl.backend import Tree
from unidl.errors import ModelError
from unidl.layer_paths import named_weights, walk
from unidl.random import stream
from unidl.saving.saved import as_array, assign_weights

Arrays = Mapping[str, np.ndarray[Any, Any]]

ROWS = 4
"""Rows of the batch: enough for batch normalization, and for rows with and without padding."""
UNKNOWN_LENGTH = 7
"""Size of an axis that a model leaves unspecified."""
UNKNOWN_VOCABULARY = 4
"""Number of tokens of a model that takes integers but has no embedding."""
SPREAD = 0.1
"""Largest shift of a constant initial weight, absolute or relative to its size."""


@dataclass(frozen=True)
class Start:
    """Initial weights and a batch. weights: by layer path and name. x, y: leaves of the inputs and targets."""

    weights: Arrays
    x: tuple[np.ndarray[Any, Any], ...]
    y: tuple[np.ndarray[Any, Any], ...]

    def save(self, path: Path) -> None:
        """Write the start to a file."""
        rows: dict[str, Any] = {f"x/{number}": leaf for number, leaf in enumerate(self.x)}
        rows |= {f"y/{number}": leaf for number, leaf in enumerate(self.y)}
        rows |= {f"weights/{name}": value for name, value in self.weights.items()}
        np.savez(path, **rows)

    @classmethod
    def load(cls, path: Path) -> Start:
        """Read what `save` wrote."""
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}

        def of(part: str) -> dict[str, np.ndarray[Any, Any]]:
            return {name.removeprefix(part): value for name, value in found.items() if name.startswith(part)}

        return cls(of("weights/"), tuple(of("x/").values()), tuple(of("y/").values()))


def draw_start(model: Any, subject: Subject, seed: int) -> Start:
    """Draw a batch for a compiled model, and read its weights; they are created here if necessary.

    Constant initial weights, such as biases of 0, would hide errors in their use: unless the model is a saved run,
    each is shifted by a small random amount.
    """
    import keras

    drawn = stream(seed, "verified batch")
    x = tuple(_rows(drawn, shape, dtype, _vocabulary(model)) for shape, dtype in _inputs(model, subject))
    outputs = keras.tree.flatten(model(packed(model, x), training=False))
    losses = _losses(model, len(outputs))
    y = tuple(_targets(drawn, tuple(leaf.shape), loss) for leaf, loss in zip(outputs, losses, strict=True))
    weights = {name: as_array(variable) for name, variable in named_weights(model).items()}
    if not subject.is_saved:
        weights = {name: _moved(value, stream(seed, "verified weight", name)) for name, value in weights.items()}
    return Start({name: _in_float32(value) for name, value in weights.items()}, x, y)


def set_start(model: Any, weights: Arrays) -> None:
    """Assign these weights to a built model."""
    assign_weights(model, weights, Path("the start of the verification"))


def packed(model: Any, leaves: Sequence[Any]) -> Tree:
    """Return the leaves in the nested structure that the model takes."""
    import keras

    structure = _structure(model)
    return leaves[0] if structure is None else keras.tree.pack_sequence_as(structure, list(leaves))


def loss_names(model: Any) -> list[str]:
    """Return Keras's names of the losses of a compiled model, in the order of its outputs."""
    import keras

    given = model.loss
    if isinstance(given, dict):
        given = [given.get(name) for name in model.output_names]
    found = [keras.losses.get(loss) for loss in keras.tree.flatten(given) if loss is not None]
    names = [getattr(loss, "__name__", None) or type(loss).__name__ for loss in found]
    return [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in names]


def _structure(model: Any) -> Any:
    """Return the nest of symbolic inputs; None for a subclassed model, which takes one array."""
    import keras

    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and model.inputs else None
    return getattr(model, "input", None)


def _inputs(model: Any, subject: Subject) -> list[tuple[tuple[int, ...], str]]:
    """Return shape, including the batch axis, and dtype of each input leaf."""
    import keras

    given, structure = subject.input_shape, _structure(model)
    if structure is None and given is None:
        raise ModelError(
            f"Cannot verify the model '{model.name}': the shape of its inputs is unknown. Pass it without the "
            "batch axis: --input 32,32,3, or --input 20:int32 for tokens."
        )
    if structure is None:
        return [((ROWS, *(given or ())), subject.input_dtype)]
    leaves = keras.tree.flatten(structure)
    if given is not None and len(leaves) > 1:
        raise ModelError(
            f"Cannot verify the model '{model.name}' with --input: it has {len(leaves)} inputs of known "
            "shapes. Leave --input out."
        )
    return [
        (
            (leaf.shape[0] or ROWS, *(given or [UNKNOWN_LENGTH if size is None else size for size in leaf.shape[1:]])),
            str(leaf.dtype),
        )
        for leaf in leaves
    ]


def _rows(drawn: np.random.Generator, shape: tuple[int, ...], dtype: str, vocabulary: int) -> np.ndarray[Any, Any]:
    """Draw images from 0 to 1 or 255, other numbers around 0, or tokens with padding at the end of all but the first
    row."""
    if "int" in dtype:
        if len(shape) > 2:
            return drawn.integers(256, size=shape, dtype=np.int32)
        tokens = drawn.integers(min(1, vocabulary - 1), vocabulary, size=shape, dtype=np.int32)
        if len(shape) == 2:
            for row, length in enumerate(drawn.integers(1, shape[1] + 1, size=shape[0])):
                tokens[row, length if row else shape[1] :] = 0
        return tokens
    if dtype == "bool":
        return drawn.integers(2, size=shape).astype(bool)
    values = drawn.uniform(size=shape) if len(shape) == 4 else drawn.normal(size=shape)
    return values.astype(np.float32)


def _vocabulary(model: Any) -> int:
    """Return the smallest vocabulary size of the model's embeddings."""
    import keras

    sizes = [layer.input_dim for _, layer in walk(model) if isinstance(layer, keras.layers.Embedding)]
    return min(sizes, default=UNKNOWN_VOCABULARY)


def _losses(model: Any, outputs: int) -> list[str]:
    """Return the name of each output's loss; a single loss applies to all outputs."""
    names = loss_names(model)
    return names if len(names) == outputs else names[:1] * outputs


def _targets(drawn: np.random.Generator, shape: tuple[int, ...], loss: str) -> np.ndarray[Any, Any]:
    """Draw targets for an output of this shape, in the form its loss takes."""
    if loss.startswith("sparse_categorical"):
        return drawn.integers(shape[-1], size=shape[:-1], dtype=np.int32)
    if loss.startswith("binary") or loss == "poisson":
        return drawn.integers(2, size=shape).astype(np.float32)
    if "categorical" in loss:
        return np.eye(shape[-1], dtype=np.float32)[drawn.integers(shape[-1], size=shape[:-1])]
    return drawn.normal(size=shape).astype(np.float32)


def _moved(values: np.ndarray[Any, Any], drawn: np.random.Generator) -> np.ndarray[Any, Any]:
    if values.dtype.kind != "f" or values.size == 0 or values.min() != values.max():
        return values
    amounts = SPREAD * drawn.uniform(-1, 1, size=values.shape)
    return values * (1 + amounts) if values.flat[0] else amounts


def _in_float32(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Round to a dtype that every backend can start from."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values
