"""Compilation of models: loss, optimizer and metrics, given or recommended by the builder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError
from unidl.keras_internals import all_layers, compile_arguments, compiled_parts, variables_of
from unidl.models.heads import recommended
from unidl.models.records import record_of
from unidl.notices import notice
from unidl.precision import scales_loss
from unidl.training.layer_rates import LayerRates, rates_of, settle_rates, with_rates

if TYPE_CHECKING:
    import keras

LEARNING_RATE = 1e-3
"""Adam's default learning rate in Keras and in Kingma & Ba, 2015."""

KEPT = ("loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution", "jit_compile")
"""Arguments of an earlier `compile` that are kept unless given."""


def ensure_compiled(
    model: keras.Model,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    rates: LayerRates | None = None,
) -> None:
    """Compile `model` with what is given, and what it was compiled with before for the rest.

    A compiled model is left alone if nothing is given, unless other layers learn than its optimizer was made for. A
    model that one of our builders made needs nothing: Adam, and the loss that its outputs call for. In mixed_float16
    the optimizer is wrapped in Keras's LossScaleOptimizer. rates: of the layers; those that the optimizer has stay with
    it where nothing else is given. Raises `ModelError` if the loss of a stranger's model is
    unknown, or its class has a `compile` of its own.
    """
    import keras

    given = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
    given = {name: value for name, value in given.items() if value is not None}
    if model.compiled and not given and rates is None and not _needs_new_optimizer(model):
        settle_rates(model)
        return
    if type(model).compile is not keras.Model.compile:
        raise ModelError(
            f"The class {type(model).__name__} overrides compile, possibly with other arguments: call "
            "model.compile, then Trainer(model) without optimizer=, loss= and metrics=."
        )
    settings = _compiled_with(model, with_loss="loss" not in given) | given
    if settings.get("loss") is None and not model.compiled:
        settings = _recommended(model) | settings
    chosen = _optimizer(model, settings.get("optimizer"), "optimizer" in given)
    rates = rates or rates_of(chosen)
    model.compile(**settings | {"optimizer": chosen if rates is None else with_rates(model, chosen, rates)})


def compile_like(model: keras.Model, other: keras.Model) -> None:
    """Compile `model`, a part of `other`, like `other`, with the same optimizer."""
    model.compile(**_compiled_with(other, with_loss=True), auto_scale_loss=False)


def require_trainable(model: keras.Model) -> None:
    """Raise `ModelError` if the model has nothing to learn, or Keras would fail at the first step."""
    import keras

    if type(model).train_step is not keras.Model.train_step:
        return
    if not model.trainable_variables:
        raise ModelError(
            f"The model '{model.name}' has no trainable weights, so there is nothing to learn. Set trainable = True on "
            "the layers that should learn, and compile it again."
        )
    if model.optimizer is None:
        raise ModelError(
            "The model was compiled without an optimizer. Pass one, such as Trainer(model, optimizer='adam')."
        )
    if not _fits(model.optimizer, model.trainable_variables):
        raise ModelError(
            f"The optimizer of '{model.name}' was created for other weights than those that are trainable now. Call "
            "model.compile again, or create a new Trainer, with a new optimizer."
        )


def tell_of_foreign_draws(model: keras.Model) -> None:
    """Log once which layers of a model draw different random numbers on each backend."""
    from unidl.layers import foreign_draws

    paths = foreign_draws(model)
    if paths:
        names = ", ".join(f"'{path}'" for path in paths)
        notice(
            f"{model.name}: {names} use Keras's random generators, which differ between backends; the layers "
            "in unidl.layers, used by unidl's builders, draw the same numbers on all backends"
        )


def signature(model: keras.Model) -> tuple[Any, ...]:
    """Return what a compiled loop depends on: it changes by compiling, freezing or unfreezing. Compare with `same`."""
    # The objects themselves, since an id can be reused.
    return (*compiled_parts(model), model.run_eagerly, model.jit_compile, *model.trainable_variables)


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two signatures hold the same objects."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _compiled_with(model: keras.Model, *, with_loss: bool) -> dict[str, Any]:
    """Return the arguments of the last `compile` as given; loss weights are kept only with their loss."""
    if not model.compiled:
        return {}
    before = compile_arguments(model)
    kept = {name: before.get(name) for name in KEPT if with_loss or name != "loss_weights"}
    return kept | {"optimizer": model.optimizer} | ({"loss": model.loss} if with_loss else {})


def _recommended(model: keras.Model) -> dict[str, Any]:
    architecture = record_of(model).architecture
    if architecture is None:
        raise ModelError(
            "The model is not compiled and was not built by unidl, so its loss is unknown.\n"
            "Pass one, such as Trainer(model, loss='sparse_categorical_crossentropy', metrics=['accuracy']), or call "
            "model.compile first."
        )
    return recommended(model)


def _optimizer(model: keras.Model, optimizer: Any, given: bool) -> Any:
    import keras

    chosen: Any = keras.optimizers.Adam(LEARNING_RATE) if optimizer is None else keras.optimizers.get(optimizer)
    if not given and not _fits(chosen, model.trainable_variables):
        notice(f"{model.name}: the trainable weights have changed, so the state of its optimizer is reset")
        chosen = type(chosen).from_config(chosen.get_config())
    return keras.optimizers.LossScaleOptimizer(chosen) if _lacks_loss_scaling(model, chosen) else chosen


def _needs_new_optimizer(model: keras.Model) -> bool:
    optimizer = model.optimizer
    if optimizer is None:
        return False
    return _lacks_loss_scaling(model, optimizer) or not _fits(optimizer, model.trainable_variables)


def _lacks_loss_scaling(model: keras.Model, optimizer: Any) -> bool:
    """Return whether gradients in float16 would underflow.

    Keras checks only the policy of the model, not those of its layers; if that requires scaling, an optimizer without
    it was requested by `compile(auto_scale_loss=False)`.
    """
    import keras

    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or scales_loss(model.dtype_policy.name):
        return False
    return any(scales_loss(layer.dtype_policy.name) for layer in all_layers(model))


def _fits(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Return whether an optimizer has state for exactly these variables, or none yet."""
    made_for = variables_of(optimizer)
    return not getattr(optimizer, "built", False) or made_for is None or same(made_for, variables)
