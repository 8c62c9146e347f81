"""Matching of arrays to the inputs of a model, and checks of their shapes and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Tree
from unidl.data.rows import Reading, is_whole
from unidl.data.trees import is_nest, named_leaves, stacking
from unidl.errors import DataError
from unidl.keras_internals import calls_of
from unidl.shortening import listed

if TYPE_CHECKING:
    import keras


def matched_inputs(model: keras.Model, x: Tree, name: str) -> Iterator[tuple[int, str, np.ndarray, Any]]:
    """Yield (position in model.inputs, name of the part, array, symbolic input) for each array of x.

    Yields nothing for a model without known inputs. Raises `DataError` if the arrays do not match the
    inputs.
    """
    inputs = list(getattr(model, "inputs", None) or ())
    if not inputs:
        return
    if isinstance(x, dict):
        yield from _matched_by_name(model, inputs, x, name)
        return
    arrays = list(named_leaves(x, "x"))
    if len(arrays) != len(inputs):
        advice = stacking(x, "x") or "Pass a list in this order, or a dict with these names."
        raise DataError(
            f"The model takes {len(inputs)} input(s), {_quoted(tensor.name for tensor in inputs)}; x of the "
            f"{name} has {len(arrays):,} array(s). {advice}"
        )
    for position, ((part, array), tensor) in enumerate(zip(arrays, inputs, strict=True)):
        yield position, part, array, tensor


def _matched_by_name(
    model: keras.Model, inputs: list[Any], x: dict[Any, Any], name: str
) -> Iterator[tuple[int, str, np.ndarray, Any]]:
    structure = getattr(model, "input", None)
    named = structure if isinstance(structure, dict) else {tensor.name: tensor for tensor in inputs}
    if not set(named) <= set(x):
        raise DataError(
            f"The model's inputs are {_quoted(named)}; x of the {name} has {_quoted(x)}. Use the model's names."
        )
    for key, tensor in named.items():
        # By identity: == on symbolic tensors returns a tensor.
        positions = [place for place, candidate in enumerate(inputs) if candidate is tensor]
        if positions and x[key] is not None and not is_nest(x[key]):
            yield positions[0], f"x[{key!r}]", x[key], tensor


def require_shape(array: np.ndarray, expected: Any, part: str, name: str) -> None:
    """Raise `DataError` unless the rows have the shape of the model's symbolic input.

    As in Keras, a last axis of length 1 may be missing or superfluous.
    """
    wanted = tuple(expected.shape[1:])
    given = tuple(array.shape[1:])
    allowed = [given]
    if wanted[-1:] == (1,):
        allowed.append((*given, 1))
    if given[-1:] == (1,):
        allowed.append(given[:-1])
    if any(_agree(wanted, shape) for shape in allowed):
        return
    raise DataError(
        f"The model takes rows of shape {_shape(wanted)} as input '{expected.name}'; {part} of the {name} "
        f"has rows of shape {_shape(given)}. Reshape the data, or build the model for it."
    )


def ask_tokens(reading: Reading, array: np.ndarray, limit: tuple[str, int], part: str, name: str) -> None:
    """Request a `DataError` for the first token out of range of an embedding. limit: its name and number of tokens."""
    layer, count = limit
    token = reading.first_bad(array, lambda block: (block >= 0) & (block < count) & is_whole(block))

    def hear() -> None:
        if token.found is not None:
            raise DataError(
                f"Token {token.found[1]} in row {token.found[0]} of {part} of the {name} is out of range: the layer "
                f"'{layer}' takes whole numbers from 0 to {count - 1}."
            )

    reading.then(hear)


def token_limits(model: Any) -> dict[int, tuple[str, int]]:
    """Return, by position in model.inputs, the name and number of tokens of the embedding it feeds.

    If several embeddings read one input, the smallest counts. Nested models are included.
    """
    import keras

    limits: dict[int, tuple[str, int]] = {}
    inputs = list(getattr(model, "inputs", None) or ())
    for layer in model.layers if inputs else ():
        if isinstance(layer, keras.layers.Embedding):
            inner = {0: (layer.name, layer.input_dim)}
        elif isinstance(layer, keras.Model):
            inner = token_limits(layer)
        else:
            continue
        for place, limit in inner.items():
            for position in _fed_by(layer, place, inputs):
                limits[position] = min(limits.get(position, limit), limit, key=lambda known: known[1])
    return limits


def _fed_by(layer: keras.Layer, place: int, inputs: list[Any]) -> Iterator[int]:
    """Return the positions of `inputs` that reach the layer's input number `place`, in any of its calls."""
    for node in calls_of(layer):
        fed = node.input_tensors[place : place + 1]
        yield from (position for position, tensor in enumerate(inputs) if any(tensor is one for one in fed))


def _agree(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    return len(wanted) == len(given) and all(w in (None, g) for w, g in zip(wanted, given, strict=True))


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"


def _quoted(names: Any) -> str:
    return listed(f"'{name}'" for name in names)
