"""Splitting a model into its deterministic, frozen front and the layers after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.trees import leaves, map_leaves
from unidl.errors import ModelError
from unidl.keras_internals import (
    all_layers,
    functional_of,
    inputs_of,
    nodes_of,
    outputs_of,
    seed_generators,
    statistics_of,
    symbolic_mask,
)

if TYPE_CHECKING:
    import keras

    from unidl.layers import Augmentation


def cut(model: keras.Model, *, varied: bool = False) -> tuple[keras.Model, keras.Model]:
    """Split a functional or sequential model after the last layer whose output is the same in every epoch.

    varied: whether the front holds an `Augmentation`, which `with_numbers` then makes the same in every epoch. Raises
    `ModelError` if it is another kind of model, or its first layers are trainable or random.
    """
    import keras

    functional = functional_of(model)
    base: Any = keras.Model
    own = [name for name in ("train_step", "compute_loss") if getattr(type(model), name) is not getattr(base, name)]
    if own:
        raise _cannot(model, f"it overrides {own[0]}")
    if functional is None:
        raise _cannot(model, f"it is a {type(model).__name__}, but only a functional model can be split")
    known = {id(tensor) for tensor in functional.inputs}
    behind: list[Any] = []
    why: str | None = None
    for node in nodes_of(functional):
        reason = ""
        if all(id(given) in known for given in node.input_tensors):
            reason = None if varied and _is_augmentation(node.operation) else _why_changing(node.operation)
        if reason is None:
            known.update(id(output) for output in node.outputs)
        else:
            behind.append(node)
            why = why or reason or None
    edge = {id(tensor): tensor for tensor in _read_by(behind, functional) if id(tensor) in known}
    if all(id(tensor) in {id(given) for given in functional.inputs} for tensor in edge.values()):
        raise _cannot(model, why or "it has no layers")
    if any(symbolic_mask(tensor) is not None for tensor in edge.values()):
        raise _cannot(model, "the outputs of its frozen layers carry a mask")
    front = keras.Model(inputs_of(functional), _alone(list(edge.values())), name=f"{model.name}_front")
    if varied and not front.weights:
        raise _cannot(model, why or "it has no frozen layers")
    _require_same_when_training(model, with_numbers(front)[0] if varied else front)
    rest = _replayed(model.name, functional, list(edge.values()), behind)
    if list(map(id, rest.trainable_variables)) != list(map(id, model.trainable_variables)):
        raise _cannot(model, "the order of its trainable layers differs from the order of its graph")
    return front, rest


def with_numbers(front: keras.Model) -> tuple[keras.Model, Augmentation]:
    """Return a front whose `Augmentation` gets its numbers as the last input, of shape (batch, draws), and that layer.

    Raises `ModelError` unless it has exactly one.
    """
    import keras

    from unidl.layers.variation import Variation

    functional = functional_of(front)
    nodes = [node for node in nodes_of(functional) if _is_augmentation(node.operation)]
    if len(nodes) != 1:
        raise ModelError(
            f"Cannot compute variants of images for '{front.name}': its frozen layers must begin with one "
            f"unidl.layers.Augmentation, and there are {len(nodes)}. Leave feature_variants= out, or build the model "
            "with augment=."
        )
    augmentation = nodes[0].operation
    nest = inputs_of(functional)
    new = keras.tree.map_structure(lambda given: keras.Input(given.shape[1:], dtype=given.dtype), nest)
    numbers = keras.Input((augmentation.draws,), name="numbers_of_variant")
    given = zip(keras.tree.flatten(nest), keras.tree.flatten(new), strict=True)
    tensors: dict[int, Any] = {id(old): tensor for old, tensor in given}
    variation = Variation(augmentation, name="variation")

    def changed(old: Any, tensor: Any) -> Any:
        if old is not nodes[0].outputs[0]:
            return tensor
        return variation(tensors[id(nodes[0].input_tensors[0])], numbers)

    return keras.Model([new, numbers], replayed(functional, tensors, changed), name=front.name), augmentation


def _is_augmentation(operation: Any) -> bool:
    from unidl.layers import Augmentation

    return isinstance(operation, Augmentation)


def _read_by(nodes: list[Any], functional: Any) -> Iterator[Any]:
    for node in nodes:
        yield from node.input_tensors
    yield from functional.outputs


def _why_changing(operation: Any) -> str | None:
    """Return why the output of an operation may change between epochs; None if it cannot."""
    import keras

    if not isinstance(operation, keras.layers.Layer):
        return None
    if operation.trainable_variables:
        return f"its layer '{operation.name}' is trainable"
    for layer in all_layers(operation):
        if seed_generators(layer):
            return f"its layer '{layer.name}' is random"
        if layer.activity_regularizer is not None:
            return f"its layer '{layer.name}' adds to the loss"
        if layer.trainable and statistics_of(layer) and not isinstance(layer, keras.layers.Normalization):
            return f"its layer '{layer.name}' is not frozen and updates statistics"
    return None


def _require_same_when_training(model: keras.Model, front: keras.Model) -> None:
    """Run custom layers and compare their outputs; for Keras's own layers and ours, `_why_changing` is sufficient."""
    import keras

    if all(type(layer).__module__.startswith(("keras.", "unidl.layers.")) for layer in all_layers(front)):
        return
    row = keras.tree.map_structure(
        lambda given: np.ones([size or 1 for size in given.shape], given.dtype), inputs_of(front)
    )
    results = [leaves(map_leaves(keras.ops.convert_to_numpy, front(row, training=mode))) for mode in (False, True)]
    if front.losses:
        raise _cannot(model, "its frozen layers add to the loss")
    if not all(np.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in zip(*results, strict=True)):
        raise _cannot(model, "its frozen layers behave differently during training")


def _replayed(name: str, functional: Any, edge: list[Any], nodes: list[Any]) -> keras.Model:
    """Apply the layers after the edge to new inputs."""
    import keras

    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in edge]
    tensors: dict[int, Any] = {id(old): new for old, new in zip(edge, inputs, strict=True)}
    return keras.Model(_alone(inputs), replayed(functional, tensors, nodes=nodes), name=name)


def replayed(
    functional: Any,
    tensors: dict[int, Any],
    change: Callable[[Any, Any], Any] = lambda old, new: new,
    nodes: list[Any] | None = None,
) -> Any:
    """Apply the layers of a functional model to other tensors, and return its outputs.

    tensors: by the ids of tensors of the model, those in their place. change: of an old output of a layer and its new
    one, the tensor that the layers after it get. nodes: the layers to apply; all if None.
    """
    import keras

    for node in nodes_of(functional) if nodes is None else nodes:
        arguments, named = node.arguments.fill_in(tensors)
        results = keras.tree.flatten(node.operation(*arguments, **named))
        tensors |= {id(old): change(old, new) for old, new in zip(node.outputs, results, strict=True)}
    return keras.tree.map_structure(lambda tensor: tensors[id(tensor)], outputs_of(functional))


def _alone(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _cannot(model: keras.Model, why: str) -> ModelError:
    return ModelError(
        f"Cannot precompute the frozen front of '{model.name}': {why}.\nTrain without precompute_frozen=True, or "
        "freeze the first layers (trainable = False) and place dropout and augmentation after them; with "
        "feature_variants=4, an Augmentation may come before them."
    )
