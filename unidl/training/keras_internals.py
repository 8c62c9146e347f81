"""The methods of Keras's optimizers that Keras does not promise to keep, and that learning rates a layer override.

A method that another Keras does not call is never reached: then the rates of all layers are the same, which the tests
of the update rule would show; `why_not_scaled` finds an optimizer whose class goes its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unidl.errors import ModelError

OVERRIDDEN = ("_backend_update_step", "_backend_apply_gradients", "apply")
"""Methods through which Keras comes to `update_step`. A class outside of Keras that has its own may never do."""


def why_not_scaled(optimizer: Any) -> str | None:
    """Return why an optimizer cannot have another rate for each layer; None if it can. Without it: an optimizer that
    updates all weights in a method of its own would leave the factors out of account without a word."""
    for kind in type(optimizer).__mro__:
        for name in OVERRIDDEN if not kind.__module__.startswith(("keras.", __name__)) else ():
            if name in vars(kind):
                return f"its class {kind.__name__} has a method {name} of its own; give it update_step alone"
    if hasattr(optimizer, "optimizers"):
        return "it stands for several optimizers; give each of them a learning rate of its own"
    return None


def shared_in_a_step(optimizer: Any) -> list[Any]:
    """Return the variables that an update of many weights at once changes for all of them. Without the attribute: none,
    as for every optimizer but Nadam."""
    product = getattr(optimizer, "_u_product", None)
    return [] if product is None else [product]


class ScaledUpdates:
    """In front of the methods of an optimizer's class: each weight changes by its factor times what it would.

    Scaling gradients would do nothing under Adam, which divides by their size; so the learning rate is scaled where a
    weight is updated and where it decays. A weight with the factor 0 is left out, as a frozen one is.
    """

    _rate_factors: tuple[float, ...] = ()
    _decaying_by: float = 1.0

    def build(self: Any, variables: Sequence[Any]) -> None:
        super().build(variables)  # pyright: ignore[reportAttributeAccessIssue] - of the optimizer's own class
        if self._rate_factors and len(self._rate_factors) != len(variables):
            raise ModelError(
                f"The optimizer has learning rates for {len(self._rate_factors)} weights, and {len(variables)} learn. "
                "Layers were frozen or unfrozen since: make a new Trainer."
            )

    def apply(self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        if trainable_variables is not None and not self.built:
            self.build(list(trainable_variables))
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        if 0.0 not in self._rate_factors:
            return super().apply(grads, trainable_variables)  # pyright: ignore[reportAttributeAccessIssue]
        learning = [pair for pair in zip(grads, variables, strict=True) if self._factor(pair[1]) != 0.0]
        return super().apply(*map(list, zip(*learning, strict=True)))  # pyright: ignore[reportAttributeAccessIssue]

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factor(variable)
        rate = learning_rate if factor == 1.0 else learning_rate * factor
        super().update_step(gradient, variable, rate)  # pyright: ignore[reportAttributeAccessIssue]

    def _parallel_update_step(self: Any, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        """On PyTorch many weights are updated at once: here those of one factor."""
        import keras

        update: Any = super()._parallel_update_step  # pyright: ignore[reportAttributeAccessIssue]
        groups = list(self._groups(variables))
        if [factor for factor, _ in groups] == [1.0]:
            update(grads, variables, learning_rate)
            return
        shared = [(one, keras.ops.copy(one.value)) for one in shared_in_a_step(self)] if len(groups) > 1 else []
        for number, (factor, places) in enumerate(groups):
            for one, before in shared if number else ():
                one.assign(before)
            rate = learning_rate if factor == 1.0 else learning_rate * factor
            update([grads[place] for place in places], [variables[place] for place in places], rate)

    def _apply_weight_decay(self: Any, variables: Sequence[Any]) -> None:
        decay: Any = super()._apply_weight_decay  # pyright: ignore[reportAttributeAccessIssue]
        for factor, places in self._groups(variables):
            self._decaying_by = factor
            try:
                decay([variables[place] for place in places])
            finally:
                self._decaying_by = 1.0

    def _get_current_learning_rate(self: Any) -> Any:
        rate = super()._get_current_learning_rate()  # pyright: ignore[reportAttributeAccessIssue]
        return rate if self._decaying_by == 1.0 else rate * self._decaying_by

    def _update_model_variables_moving_average(self: Any, variables: Sequence[Any]) -> None:
        """The average of a weight that does not learn is the weight itself, to the last bit."""
        super()._update_model_variables_moving_average(variables)  # pyright: ignore[reportAttributeAccessIssue]
        if self.use_ema and 0.0 in self._rate_factors:
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
                if average is not None and self._factor(variable) == 0.0:
                    average.assign(variable.value)

    def get_config(self: Any) -> dict[str, Any]:
        config = super().get_config()  # pyright: ignore[reportAttributeAccessIssue]
        said = {"factors": dict(self.layer_rates["factors"]), "decay": self.layer_rates["decay"]}
        return config | {"rate_factors": list(self._rate_factors), "layer_rates": said}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        factors, rates = config.pop("rate_factors"), config.pop("layer_rates")
        made: Any = super().from_config(config, custom_objects)  # pyright: ignore[reportAttributeAccessIssue]
        made.scale(factors, rates)
        return made

    def scale(self: Any, factors: Sequence[float], rates: Mapping[str, Any]) -> None:
        """Take the factor of each weight that the optimizer is, or will be, built for. rates: what they come from, as
        JSON values: "factors" of layers by their names, and "decay"."""
        self._rate_factors, self._decaying_by, self.layer_rates = tuple(factors), 1.0, rates

    def _factor(self: Any, variable: Any) -> float:
        return self._rate_factors[self._get_variable_index(variable)] if self._rate_factors else 1.0

    def _groups(self, variables: Sequence[Any]) -> Iterator[tuple[float, list[int]]]:
        """The places of the variables with each factor."""
        places: dict[float, list[int]] = {}
        for place, variable in enumerate(variables):
            places.setdefault(self._factor(variable), []).append(place)
        yield from places.items()
