"""The frozen layers at the front of a model, whose outputs need computing once and not in every epoch.

A frozen front that draws nothing at random gives the same for a row in each epoch. Computed once, E epochs cost one
pass through it and not E; what comes behind it trains as before, on the same optimizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import TrainLoop
from unidl.data.dataset import Split
from unidl.data.trees import leaves, map_leaves
from unidl.doctor.memory import memory
from unidl.errors import DataError, ModelError
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
from unidl.training.compiling import compile_like, same
from unidl.training.evaluating import predicted

if TYPE_CHECKING:
    import keras

MEMORY_SHARE = 0.5
"""Of the main memory that is free: what the features may take."""


class FrozenFront:
    """A compiled model cut in two: the frozen layers at its front, and all that comes behind them, on the same layers.

    compile_loop: gives the loop of a model. Raises `ModelError` if the model cannot be cut.
    """

    def __init__(self, model: keras.Model, compile_loop: Callable[[keras.Model], TrainLoop]) -> None:
        self._front, self.rest = cut(model)
        settings: dict[str, Any] = {
            "optimizer": None,
            "run_eagerly": model.run_eagerly,
            "jit_compile": model.jit_compile,
        }
        self._front.compile(**settings)
        compile_like(self.rest, model)
        self._front_loop = compile_loop(self._front)
        self.loop = compile_loop(self.rest)
        """Trains what is behind the front."""

    def features(self, data: Split, batch_size: int) -> Split:
        """What the front makes of `data`, beside the same labels and weights.

        Raises `DataError` if that takes more memory than there is.
        """
        size_bytes = len(data) * sum(_bytes_a_row(tensor) for tensor in self._front.outputs)
        free_bytes = memory().available_bytes
        if free_bytes is not None and size_bytes > MEMORY_SHARE * free_bytes:
            raise DataError(
                f"The features of {len(data):,} rows take {size_bytes / 2**30:.1f} GiB, more than half of the "
                f"{free_bytes / 2**30:.1f} GiB of memory that are free. Train without precompute_frozen=True, or with "
                "a model that pools its features."
            )
        return Split(predicted(self._front_loop, Split(data.x), batch_size), data.y, data.sample_weight)

    def fingerprint(self) -> str:
        """The SHA-256 of the weights of the front."""
        import keras

        found = hashlib.sha256()
        for weight in self._front.weights:
            values: Any = keras.ops.convert_to_numpy(weight)
            found.update(np.ascontiguousarray(values).data)
        return found.hexdigest()

    def guard(self) -> keras.callbacks.Callback:
        """A callback that ends training if the weights of the front are others than those of now: another callback, or
        the checkpoint that training goes on from, may change them."""
        import keras

        before, fingerprint = self.fingerprint(), self.fingerprint

        class Guard(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                if fingerprint() != before:
                    raise ModelError(
                        f"The frozen weights are others before epoch {epoch + 1} than when their outputs were "
                        "computed: a callback has changed them, or the checkpoint that training goes on from has "
                        "others. Train without precompute_frozen=True."
                    )

        return Guard()


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a functional or sequential model behind the last of its layers that give the same in each epoch.

    Raises `ModelError` if the model is none, or its first layers learn or draw at random.
    """
    import keras

    functional = functional_of(model)
    base: Any = keras.Model
    own = [name for name in ("train_step", "compute_loss") if getattr(type(model), name) is not getattr(base, name)]
    if own:
        raise _cannot(model, f"it has a {own[0]} of its own")
    if functional is None:
        raise _cannot(model, f"it is a {type(model).__name__}, and only a functional model can be cut")
    known = {id(tensor) for tensor in functional.inputs}
    behind: list[Any] = []
    why: str | None = None
    for node in nodes_of(functional):
        reason = _why_changing(node.operation) if all(id(given) in known for given in node.input_tensors) else ""
        if reason is None:
            known.update(id(output) for output in node.outputs)
        else:
            behind.append(node)
            why = why or reason or None
    edge = {id(tensor): tensor for tensor in _read_by(behind, functional) if id(tensor) in known}
    if all(id(tensor) in {id(given) for given in functional.inputs} for tensor in edge.values()):
        raise _cannot(model, why or "it has no layer")
    if any(symbolic_mask(tensor) is not None for tensor in edge.values()):
        raise _cannot(model, "the outputs of its frozen layers carry a mask")
    front = keras.Model(inputs_of(functional), _alone(list(edge.values())), name=f"{model.name}_front")
    _require_same_when_training(model, front)
    rest = _replayed(model.name, functional, list(edge.values()), behind)
    if not same(rest.trainable_variables, model.trainable_variables):
        raise _cannot(model, "its layers that learn come in another order than its graph has")
    return front, rest


def _read_by(nodes: list[Any], functional: Any) -> Iterator[Any]:
    for node in nodes:
        yield from node.input_tensors
    yield from functional.outputs


def _why_changing(operation: Any) -> str | None:
    """Why an operation may give something else in another epoch; None if it cannot."""
    import keras

    if not isinstance(operation, keras.layers.Layer):
        return None
    if operation.trainable_variables:
        return f"its layer '{operation.name}' learns"
    for layer in all_layers(operation):
        if seed_generators(layer):
            return f"its layer '{layer.name}' draws at random"
        if layer.activity_regularizer is not None:
            return f"its layer '{layer.name}' adds to the loss"
        if layer.trainable and statistics_of(layer) and not isinstance(layer, keras.layers.Normalization):
            return f"its layer '{layer.name}' is not frozen and keeps statistics"
    return None


def _require_same_when_training(model: keras.Model, front: keras.Model) -> None:
    """Look at what layers of a stranger give: Keras's own differ in nothing but what `_why_changing` asks."""
    import keras

    if all(type(layer).__module__.startswith("keras.") for layer in all_layers(front)):
        return
    row = keras.tree.map_structure(
        lambda given: np.ones([size or 1 for size in given.shape], given.dtype), inputs_of(front)
    )
    results = [leaves(map_leaves(keras.ops.convert_to_numpy, front(row, training=mode))) for mode in (False, True)]
    if front.losses:
        raise _cannot(model, "its frozen layers add to the loss")
    if not all(np.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in zip(*results, strict=True)):
        raise _cannot(model, "its frozen layers give other outputs when training")


def _replayed(name: str, functional: Any, edge: list[Any], nodes: list[Any]) -> keras.Model:
    """The layers behind the edge once more, on new inputs."""
    import keras

    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in edge]
    tensors: dict[int, Any] = {id(old): new for old, new in zip(edge, inputs, strict=True)}
    for node in nodes:
        arguments, named = node.arguments.fill_in(tensors)
        results = keras.tree.flatten(node.operation(*arguments, **named))
        tensors |= {id(old): new for old, new in zip(node.outputs, results, strict=True)}
    outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], outputs_of(functional))
    return keras.Model(_alone(inputs), outputs, name=name)


def _alone(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _bytes_a_row(tensor: Any) -> int:
    # What a model gives comes as float32 at least.
    return int(np.prod([size or 1 for size in tensor.shape[1:]])) * 4


def _cannot(model: keras.Model, why: str) -> ModelError:
    return ModelError(
        f"Cannot compute the frozen front of '{model.name}' once: {why}.\nTrain without precompute_frozen=True, or "
        "freeze the first layers (trainable = False) and keep dropout and augmentation behind them."
    )
