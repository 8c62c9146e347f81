"""A learning rate for each layer: which share of the optimizer's own rate the weights of a layer learn with."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError, UsageError
from unidl.finite import is_number
from unidl.keras_internals import all_layers
from unidl.layer_paths import walk
from unidl.models.arguments import close_names
from unidl.models.freezing import layers_in_order
from unidl.shortening import shown
from unidl.training.keras_internals import ScaledUpdates, why_not_scaled

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerRates:
    """What was requested: `factors` by the name or the path of a layer, and `decay` for each layer below."""

    factors: Mapping[str, float] = field(default_factory=dict[str, float])
    decay: float | None = None

    @classmethod
    def of(cls, rate_factors: Any, layer_decay: Any) -> LayerRates | None:
        """Return what was asked for; None if nothing was. Raises `UsageError`."""
        if rate_factors is None and layer_decay is None:
            return None
        if rate_factors is not None and not isinstance(rate_factors, Mapping):
            raise UsageError(
                f"Cannot use rate_factors={shown(rate_factors)}: it must be a dict from the name of a layer to the "
                "factor of its learning rate, such as {'block1': 0.1}."
            )
        for name, factor in (rate_factors or {}).items():
            if not isinstance(name, str) or not is_number(factor) or factor < 0:
                raise UsageError(
                    f"Cannot use rate_factors={{{name!r}: {shown(factor)}}}: it must give the name of a layer a number "
                    "of at least 0, which the learning rate is multiplied by."
                )
        if layer_decay is not None and not (is_number(layer_decay) and 0 < layer_decay <= 1):
            raise UsageError(
                f"Cannot use layer_decay={shown(layer_decay)}: it must be a number above 0, and at most 1, by which "
                "the learning rate is multiplied at each layer on the way from the outputs to the inputs."
            )
        factors = {name: float(factor) for name, factor in (rate_factors or {}).items()}
        return cls(factors, None if layer_decay is None else float(layer_decay))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"factors": dict(self.factors), "decay": self.decay}

    def of_weights(self, model: keras.Model) -> list[float]:
        """Return the factor of each trainable weight of a model. Raises `ModelError` for a layer that it lacks."""
        places = _places(model)
        named = {name: self._named(name, model, places) for name in self.factors}
        of_weight: dict[int, str] = {}
        for path, layer in walk(model):  # parents before children, so that the innermost layer stays
            of_weight |= {id(weight): path for weight in layer.weights}
        depths = _depths(model) if self.decay is not None else {}
        factors: list[float] = []
        for weight in model.trainable_weights:
            path = of_weight[id(weight)]
            closest = max(((named[name][path], name) for name in named if path in named[name]), default=None)
            factor = 1.0 if closest is None else self.factors[closest[-1]]
            factors.append(factor * (self.decay or 1.0) ** depths.get(id(weight), 0))
        if factors and not any(factors):
            raise ModelError(
                f"The learning rate of every layer of '{model.name}' that learns is 0. Give one of them a factor above "
                "0, or freeze the layers that should stay (trainable = False)."
            )
        return factors

    def _named(self, name: str, model: keras.Model, places: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """The paths of the layers that a name names, and how closely: how deep the layer is whose name it is. A name
        that no layer has is that of a block of layers. Raises `ModelError` if there is none either."""
        for blocks in (False, True):
            found = {
                path: depth
                for path, spellings in places.items()
                if (depth := max(_match(name, spelling, blocks) for spelling in spellings))
            }
            if found:
                return found
        names = list(dict.fromkeys(spellings[-1].rpartition("/")[-1] for path, spellings in places.items() if path))
        raise ModelError(
            f"Cannot give the layer {name!r} a learning rate: the model '{model.name}' has no layer, and no block of "
            f"layers, of that name. {close_names(name, names)}."
        )


def with_rates(model: keras.Model, optimizer: Any, rates: LayerRates) -> Any:
    """Give an optimizer the rates for the layers of a model, and return it. Raises `ModelError` if it can have none."""
    inner = inner_optimizer(optimizer)
    why_not = why_not_scaled(inner)
    if why_not is not None:
        raise ModelError(f"Cannot give each layer a learning rate of its own with this optimizer: {why_not}.")
    if not all(layer.built for layer in all_layers(model)):
        raise ModelError(
            f"Cannot give each layer of '{model.name}' a learning rate of its own: it has no weights yet. Call the "
            "model on a batch first."
        )
    factors = rates.of_weights(model)
    if not isinstance(inner, ScaledUpdates):
        inner.__class__ = _scaled(type(inner))
    inner.scale(factors, rates.to_json())
    return optimizer


def rates_of(optimizer: Any) -> LayerRates | None:
    """Return the rates that an optimizer has for layers; None if they all learn alike."""
    said = getattr(inner_optimizer(optimizer), "layer_rates", None)
    return None if said is None else LayerRates(dict(said["factors"]), said["decay"])


def settle_rates(model: keras.Model) -> None:
    """Find the layers that learn anew, if the optimizer has rates for layers and has not begun."""
    optimizer = model.optimizer if model.compiled else None
    rates = None if optimizer is None else rates_of(optimizer)
    if rates is not None and not inner_optimizer(optimizer).built:
        with_rates(model, optimizer, rates)


def inner_optimizer(optimizer: Any) -> Any:
    """Return the optimizer that updates the weights: a LossScaleOptimizer has one inside."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@functools.cache
def _scaled(kind: type) -> type:
    """The class of an optimizer with scaled updates, which Keras finds again in a file if this process has made it."""
    import keras

    made = type(f"{kind.__name__}WithLayerRates", (ScaledUpdates, kind), {"__module__": __name__})
    return keras.saving.register_keras_serializable("unidl")(made)


def _places(model: keras.Model) -> dict[str, tuple[str, str]]:
    """The path of each layer, as it is in files and as the names of layers say it: they differ where Keras made up a
    name, "dense#1" and "dense_7"."""
    found: dict[str, tuple[str, str]] = {}
    for path, layer in walk(model):
        above = found.get(path.rpartition("/")[0], ("", ""))[1] if "/" in path else ""
        found[path] = path, f"{above}/{layer.name}".removeprefix("/") if path else ""
    return found


def _match(name: str, path: str, blocks: bool) -> int:
    """How deep a layer is that a name, or the end of a path, names, and that is at a path or around it; 0 if there is
    none. blocks: "block1" names block1_conv2 and its like."""
    wanted, parts = name.split("/"), path.split("/")
    for end in range(len(parts), len(wanted) - 1, -1):
        *before, last = parts[end - len(wanted) : end]
        same = last.startswith(f"{wanted[-1]}_") if blocks else last == wanted[-1]
        if same and before == wanted[:-1]:
            return end
    return 0


def _depths(model: keras.Model) -> dict[int, int]:
    """How many layers are behind the one that a weight is of. A layer counts if it has a matrix or a kernel:
    normalization belongs to what is before it."""
    depths: dict[int, int] = {}
    number = 0
    for layer in layers_in_order(model):
        number += any(len(weight.shape) > 1 for weight in layer.weights)
        depths |= {id(weight): number for weight in layer.weights if id(weight) not in depths}
    return {key: number - max(depth, 1) for key, depth in depths.items()}
