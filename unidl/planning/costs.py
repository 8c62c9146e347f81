"""What each layer costs: operations, and values that it reads, writes and keeps, for one row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unidl.planning.shapes import Call, Shape

if TYPE_CHECKING:
    import keras

TRAINED, PASSED_THROUGH, FORWARD = 3, 2, 1
"""How many products of the size of the forward pass a layer takes in a training step: also the gradients of inputs and
weights; only those of the inputs, for a frozen layer after one that learns; none, for a frozen one before it."""
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
VIEWS = ("Flatten", "Reshape", "InputLayer", "Identity")
"""Layers that only look at their input another way."""
KEPT_BY_GATES = 3
"""Values that a recurrent layer keeps for each unit and time step besides its gates: the cell, its tanh, and what it
gives."""
ADAM_SLOTS = 2
"""The averages of the gradients and of their squares (Kingma and Ba 2014)."""


@dataclass(frozen=True)
class LayerCost:
    """One call of a layer, for one row; operations count 2 for a multiplication and addition. kept: values that the
    backward pass needs and that no earlier layer has kept; parameters: of this layer alone; trainable: those that
    learn; steps: one after the other, as in a recurrent layer; factor: see `TRAINED`; copies: whether it moves its
    inputs and outputs through memory."""

    path: str
    kind: str
    forward_flops: float
    factor: int
    read: int
    written: int
    kept: int
    parameters: int
    trainable: int
    steps: int = 1
    copies: bool = True
    uncounted: bool = False
    """Whether it has weights of a kind that is unknown: its operations are not counted."""
    rows_read: bool = False
    """Whether it reads only the rows of its weights that are looked up."""
    inner: int = 0
    """Values of gradients that it needs at once besides those of its inputs and outputs, such as those of all gates in
    all time steps."""

    @property
    def training_flops(self) -> float:
        """Operations of a training step."""
        return self.factor * self.forward_flops


@dataclass(frozen=True)
class ModelCost:
    """All layers of a model. slots: values that the optimizer keeps for each trainable parameter."""

    name: str
    layers: tuple[LayerCost, ...]
    parameters: int
    trainable: int
    optimizer: str
    slots: int

    @property
    def training_flops(self) -> float:
        """Operations of a training step for one row, as `unidl.compare.flops` counts them."""
        return sum(layer.training_flops for layer in self.layers)

    @property
    def forward_flops(self) -> float:
        """Operations of the forward pass for one row."""
        return sum(layer.forward_flops for layer in self.layers)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """The layers whose operations are unknown."""
        return tuple(layer.path for layer in self.layers if layer.uncounted)


SLOTS = {"SGD": 0, "RMSprop": 1, "Adagrad": 1, "Lion": 1, "Adam": 2, "AdamW": 2, "Adamax": 2, "Adadelta": 2, "Nadam": 2}
"""Values per parameter that Keras's optimizers keep, with their default arguments."""


def costs(model: keras.Model, calls: Sequence[Call]) -> ModelCost:
    """Return what a model costs. calls: as `calls_of_model` returns them."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # inside one that scales the loss
    name = "Adam" if optimizer is None else type(optimizer).__name__
    slots = SLOTS.get(name, ADAM_SLOTS)
    if name == "SGD" and getattr(optimizer, "momentum", 0):
        slots = 1
    counter = _Counter(model)
    return ModelCost(
        model.name,
        tuple(counter.layers(calls)),
        sum(math.prod(weight.shape) for weight in model.weights),
        sum(math.prod(weight.shape) for weight in model.trainable_variables),
        name,
        slots,
    )


class _Counter:
    def __init__(self, model: keras.Model) -> None:
        from unidl.layer_paths import walk

        # The innermost layer, since parents come first.
        self._owners = {id(weight): layer for _, layer in walk(model) for weight in layer.weights}
        self._kept: set[int] = set()
        self._learning = False

    def layers(self, calls: Sequence[Call]) -> Iterator[LayerCost]:
        for call in calls:
            kind = type(call.layer).__name__
            if _recurrent_kind(call.layer) is None and call.inside:
                yield from self.layers(call.inside)
                if not self._weights(call.layer) and not _is_attention(call.layer):
                    continue
            yield self._cost(call, kind)

    def _weights(self, layer: Any) -> list[Any]:
        if _recurrent_kind(layer) is not None:
            return list(layer.weights)
        return [weight for weight in layer.weights if self._owners.get(id(weight)) is layer]

    def _cost(self, call: Call, kind: str) -> LayerCost:
        layer, weights = call.layer, self._weights(call.layer)
        self._learning = self._learning or bool(layer.trainable_variables)
        factor = FORWARD if not self._learning else TRAINED if layer.trainable_variables else PASSED_THROUGH
        flops = forward_flops(call, weights)
        steps = _steps(call)
        read, written, kept = self._moves(call, kind)
        return LayerCost(
            path=call.path,
            kind=kind,
            forward_flops=flops or 0.0,
            factor=factor,
            read=read,
            written=written,
            kept=kept if self._learning else 0,
            parameters=sum(math.prod(weight.shape) for weight in weights),
            trainable=sum(math.prod(weight.shape) for weight in weights if weight.trainable),
            steps=steps,
            copies=kind not in VIEWS,
            uncounted=flops is None,
            rows_read=_looks_up(layer),
            inner=_inner(call),
        )

    def _moves(self, call: Call, kind: str) -> tuple[int, int, int]:
        """Return the values that a call reads, writes and keeps."""
        kept = self._keeps(call, kind)
        if not _is_attention(call.layer):
            return sum(value.size for value in call.inputs), sum(value.size for value in call.outputs), kept
        # The layers inside have moved all but the scores: how much each step looks at each other, then as shares of 1.
        # Kernels that never write them exist for some GPUs and precisions only.
        scores = _scores(call)
        inside = any(type(one.layer).__name__ == "Softmax" for one in call.inside)
        return (scores, scores, kept) if inside else (2 * scores, 2 * scores, kept + 2 * scores)

    def _keeps(self, call: Call, kind: str) -> int:
        if kind in VIEWS or (kind == "Dropout" and not getattr(call.layer, "rate", 1)):
            # The same values under another identity.
            self._kept.update(value.identity for value in call.outputs)
            return 0
        total = 0
        for value in [*call.inputs, *call.outputs]:
            if value.identity not in self._kept:
                self._kept.add(value.identity)
                total += value.size
        gates = _recurrent_kind(call.layer)
        if gates is not None:
            total += _steps(call) * call.layer.units * (GATES[gates] + KEPT_BY_GATES)
        return total


def _inner(call: Call) -> int:
    kind = _recurrent_kind(call.layer)
    return 0 if kind is None else _steps(call) * call.layer.units * GATES[kind]


def forward_flops(call: Call, weights: Sequence[Any]) -> float | None:
    """Return the operations of a call for one row; None if the layer has a matrix whose use is unknown."""
    import keras

    layer = call.layer
    gates = _recurrent_kind(layer)
    if gates is not None:
        return 2.0 * _steps(call) * GATES[gates] * layer.units * (call.inputs[0].shape[-1] + layer.units)
    if _is_attention(layer):
        return _attention(call)
    matrices = [weight.shape for weight in weights if len(weight.shape) >= 2]
    if not matrices or _looks_up(layer):
        return 0.0
    if not call.inputs or not call.outputs:
        return None
    inputs, outputs = call.inputs[0].shape, call.outputs[0].shape
    if isinstance(layer, keras.layers.Dense):
        return 2.0 * math.prod(inputs) * layer.units
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum(layer.equation, inputs, matrices[0])  # the kernel comes before the bias
    if hasattr(layer, "kernel_size") and hasattr(layer, "data_format"):
        # Each value of a kernel is used once for every output place; of a transposed one, for every input place.
        places = _places(layer, inputs if "Transpose" in type(layer).__name__ else outputs)
        return 2.0 * places * sum(math.prod(shape) for shape in matrices)
    return None


def _places(layer: Any, shape: Shape) -> int:
    first = 2 if layer.data_format == "channels_first" else 1
    return math.prod(shape[first : first + len(layer.kernel_size)])


def _einsum(equation: str, inputs: Shape, kernel: Sequence[int]) -> float | None:
    """Return the operations of a product: one multiplication and addition for each combination of all axes."""
    left, _, _ = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != 2:
        return None
    sizes: dict[str, int] = {}
    rest = 1
    for word, shape in zip(words, (inputs, tuple(kernel)), strict=True):
        before, dots, after = word.partition("...")
        if dots:
            middle = len(shape) - len(before) - len(after)
            rest *= math.prod(shape[len(before) : len(before) + middle])
            shape = (*shape[: len(before)], *shape[len(before) + middle :])
        sizes |= dict(zip(before + after, shape, strict=True))
    return 2.0 * rest * math.prod(sizes.values())


def _attention(call: Call) -> float | None:
    """Return the operations of the two products of all steps with all steps; the projections are layers inside."""
    scores = _scores(call)
    key = getattr(call.layer, "key_dim", None) or call.layer.head_dim
    return 2.0 * scores * (key + (getattr(call.layer, "value_dim", None) or key)) if scores else None


def _scores(call: Call) -> int:
    """Return the scores of attention: one for each head, query and value; 0 if it takes no sequences."""
    shapes = [value.shape for value in call.inputs if len(value.shape) == 3]
    if not shapes:
        return 0
    query, value = shapes[0], shapes[min(1, len(shapes) - 1)]
    heads = getattr(call.layer, "num_heads", None) or call.layer.num_query_heads
    return query[1] * value[1] * heads


def _recurrent_kind(layer: Any) -> str | None:
    import keras

    return next((name for name in GATES if isinstance(layer, getattr(keras.layers, name))), None)


def _is_attention(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention)


def _looks_up(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.Embedding) or type(layer).__name__ == "PositionEmbedding"


def _steps(call: Call) -> int:
    return call.inputs[0].shape[1] if _recurrent_kind(call.layer) is not None and call.inputs else 1
