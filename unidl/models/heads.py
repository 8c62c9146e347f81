"""What a model predicts from its features: one class, several labels, numbers, or several of these side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unidl.models.arguments import Arguments
from unidl.models.building import Tensor, softmax_head

if TYPE_CHECKING:
    import keras

USUAL_CLASSES = 10
KINDS = ("classes", "labels", "targets", "heads")
"""The arguments of a builder that say what is predicted."""


def ask_head(asked: Arguments, given: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the arguments of `KINDS`, of which one at most is given, and return the one that counts.

    Raises `ModelError` if several are given, or the one that is cannot be used.
    """
    named = [kind for kind in KINDS if given[kind] is not None]
    if len(named) > 1:
        because = f"{' and '.join(named)} are given, and a model has one kind of output; pass one of them"
        raise asked.refused(named[1], given[named[1]], because)
    asked.values |= dict.fromkeys(KINDS)
    kind = named[0] if named else "classes"
    value = given[kind] if named else USUAL_CLASSES
    if kind == "heads":
        return {kind: _heads(asked, value)}
    return {kind: asked.whole(kind, value, minimum=2 if kind == "classes" else 1)}


def _heads(asked: Arguments, heads: Any) -> dict[str, int]:
    needed = "it must be a dict from the name of each head to its number of classes, or to 1 for a number"
    if not isinstance(heads, Mapping) or not heads:
        raise asked.refused("heads", heads, needed)
    sizes = Arguments(asked.builder)
    for name, size in heads.items():
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise asked.refused("heads", heads, f"{needed}; a name such as 'colour' is letters, digits and '_'")
        sizes.whole(f"heads[{name!r}]", size)
    found = {name: int(size) for name, size in heads.items()}
    asked.values["heads"] = found
    return found


def refuse_taken(head: Mapping[str, Any], inputs: Any, features: Tensor, asked: Arguments) -> None:
    """Raise `ModelError` if a head has the name of another layer of the model."""
    import keras

    if "heads" not in head:
        return
    heads = head["heads"]
    inner = {layer.name for layer in keras.Model(inputs, features).layers}
    logits = {f"{name}_logits" for name, outputs in heads.items() if outputs > 1}
    for name in heads:
        if name in inner | logits or f"{name}_logits" in logits & inner:
            raise asked.refused("heads", heads, f"the model has a layer of the name {name!r}; choose another")


def outputs_of(head: Mapping[str, Any], features: Tensor, policy: str) -> Any:
    """Return the outputs for features of shape (batch, n): of each row, or a dict of such by the names of the heads.

    They are float32 under any policy.
    """
    import keras

    [(kind, size)] = head.items()
    if kind == "heads":
        return {name: _one_of(name, outputs, features, policy) for name, outputs in size.items()}
    if kind == "classes":
        return softmax_head(features, size, policy)
    if kind == "targets":
        return keras.layers.Dense(size, dtype="float32", name="predictions")(features)
    logits = keras.layers.Dense(size, dtype=policy, name="logits")(features)
    return keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)


def _one_of(name: str, size: int, features: Tensor, policy: str) -> Tensor:
    import keras

    if size == 1:
        return keras.layers.Dense(1, dtype="float32", name=name)(features)
    logits = keras.layers.Dense(size, dtype=policy, name=f"{name}_logits")(features)
    return keras.layers.Activation("softmax", dtype="float32", name=name)(logits)


def outputs_in(head: Mapping[str, Any]) -> int:
    """Return how many numbers are predicted for each row."""
    [size] = head.values()
    return sum(size.values()) if isinstance(size, Mapping) else size


def recommended(model: keras.Model) -> dict[str, Any]:
    """Return the loss and the metrics that suit the outputs of a model that one of our builders made.

    Classes: sparse categorical crossentropy; labels: binary crossentropy; numbers: mean squared error. Of several
    heads, the losses are added up.
    """
    outputs: Any = model.output
    if not isinstance(outputs, Mapping):
        loss, metric = _suiting(model.layers[-1])
        return {"loss": loss, "metrics": [metric]}
    suiting = {name: _suiting(model.get_layer(name)) for name in outputs}
    losses, metrics = ({name: pair[place] for name, pair in suiting.items()} for place in (0, 1))
    return {"loss": losses, "metrics": {name: [metric] for name, metric in metrics.items()}}


def _suiting(layer: keras.layers.Layer) -> tuple[str, str]:
    import keras

    if not isinstance(layer, keras.layers.Activation):
        return "mean_squared_error", "mean_absolute_error"
    if layer.activation is keras.activations.sigmoid:
        return "binary_crossentropy", "binary_accuracy"
    return "sparse_categorical_crossentropy", "accuracy"
