"""How a model is compiled: loss, optimizer and metrics, given or as its builder recommends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError
from unidl.models.records import record_of

if TYPE_CHECKING:
    import keras

LEARNING_RATE = 1e-3
"""Adam's default in Keras and in Kingma & Ba, 2015."""


def ensure_compiled(model: keras.Model, optimizer: Any = None, loss: Any = None, metrics: Any = None) -> None:
    """Compile `model` with what is given; leave a compiled model alone if nothing is.

    A model that one of our builders made needs nothing: Adam, and the loss that its outputs call for. Raises
    `ModelError` if a stranger's model is not compiled and no loss is given.
    """
    given = optimizer is not None or loss is not None or metrics is not None
    if model.compiled and not given:
        return
    if model.compiled:
        optimizer = optimizer if optimizer is not None else model.optimizer
        metrics = metrics if metrics is not None else _compiled_metrics(model)
        loss = loss if loss is not None else model.loss
    if loss is None:
        loss, metrics = _recommended(model, metrics)
    import keras

    model.compile(
        optimizer=optimizer if optimizer is not None else keras.optimizers.Adam(LEARNING_RATE),
        loss=loss,
        metrics=metrics,
    )


def signature(model: keras.Model) -> tuple[Any, ...]:
    """What a compiled loop depends on: compiling, freezing or unfreezing changes it."""
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    return id(model.optimizer), id(model._compile_loss), model.run_eagerly, model.jit_compile, trainable


def _compiled_metrics(model: keras.Model) -> Any:
    config = model.get_compile_config() or {}
    return config.get("metrics")


def _recommended(model: keras.Model, metrics: Any) -> tuple[str, Any]:
    architecture = record_of(model).architecture
    if architecture is None:
        raise ModelError(
            "The model is not compiled, and unidl did not build it, so its loss is unknown.\n"
            "Pass one, such as Trainer(model, loss='sparse_categorical_crossentropy', metrics=['accuracy']), or call "
            "model.compile first."
        )
    if model.layers[-1].__class__.__name__ == "Activation":
        return "sparse_categorical_crossentropy", metrics if metrics is not None else ["accuracy"]
    return "mean_squared_error", metrics if metrics is not None else ["mean_absolute_error"]
