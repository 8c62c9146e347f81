"""Repeated runs of one model on one backend from the same start, with all intermediate values.

Imports Keras: import this module only once a backend is in use.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any, TypeAlias

import keras
import numpy as np

from unidl import registry
from unidl.agreement.files import Quantity, Values
from unidl.agreement.recorder import Recorder, recorded
from unidl.agreement.start import Arrays, Start, packed, set_start
from unidl.agreement.watching import See, watched
from unidl.backend import Batches, Chunk, Device, Kernels, Trains
from unidl.errors import BackendError, ModelError
from unidl.keras_internals import rate_of, set_schedule
from unidl.layer_paths import named_weights, walk
from unidl.layers import foreign_draws
from unidl.models.records import record_of
from unidl.saving.saved import as_array
from unidl.training.compiling import ensure_compiled

UNKNOWN_LOSS = "mean_squared_error"
"""Loss of a user's model that was not compiled."""
LOSS_SCALE = 2.0**8
"""Initial loss scale. With Keras's 2**15 the first steps may overflow and are skipped while the scale shrinks."""

Step: TypeAlias = Callable[[], float]


class ModelRuns:
    """Runs of one compiled model. Layers that use Keras's random generators run in inference mode, since their numbers
    differ between backends; `silenced` holds their paths."""

    def __init__(self, model: keras.Model, start: Start, steps: int) -> None:
        self._model = model
        self._start = start
        self._steps = steps
        self._x = packed(model, start.x)
        outputs = model(self._x, training=False)  # a subclassed model creates its weights here
        self._y = keras.tree.pack_sequence_as(outputs, list(start.y))
        self._optimizer = model.optimizer
        self.silenced = silence(model)
        own = {id(weight) for weight in model.weights}
        self._others = [(one, as_array(one)) for one in model.variables if id(one) not in own]

    def values(
        self,
        prepare: Callable[[keras.Model], Step],
        see: See | None = None,
        *,
        weights: Arrays | None = None,
        rate_factor: float = 1.0,
    ) -> Values:
        """Run the model and return all compared quantities.

        prepare: returns the training step of the compiled model. see: called for each layer, which requires eager
        steps. weights: replaces the initial weights. rate_factor: factor of the learning rate.
        """
        found: Values = {}
        with nullcontext() if see is None else watched(self._model, see):
            for kind, training in (("output", False), ("training output", True)):
                self._restore(weights)
                with watched(self._model, _record(found, kind)):
                    self._model(self._x, training=training)
        steps = prepare if see is None else lambda model: _watched(model, prepare(model), see)
        return found | self._gradients(steps, weights) | self._training(steps, weights, rate_factor)

    def _gradients(self, prepare: Callable[[keras.Model], Step], weights: Arrays | None) -> Values:
        """Take one step with an optimizer that records the gradients."""
        step = self._ready(Recorder(1.0), prepare, weights)
        found: Values = {Quantity("loss"): np.asarray(step())}
        names = {id(variable): name for name, variable in named_weights(self._model).items()}
        for variable, gradient in zip(self._model.trainable_variables, recorded(self._model.optimizer), strict=True):
            found[Quantity("gradient", names[id(variable)])] = as_array(gradient)
        return found

    def _training(self, prepare: Callable[[keras.Model], Step], weights: Arrays | None, rate_factor: float) -> Values:
        """Take steps with the model's own optimizer."""
        optimizer = _with_rate(type(self._optimizer).from_config(self._optimizer.get_config()), rate_factor)
        step = self._ready(optimizer, prepare, weights)
        found: Values = {}
        losses = [step()]
        for name, variable in named_weights(self._model).items():
            found[Quantity("weight", name)] = as_array(variable)
        losses += [step() for _ in range(self._steps - 1)]
        found[Quantity("losses")] = np.asarray(losses)
        return found

    def eagerly(self, model: keras.Model) -> Step:
        """Return Keras's training step in eager mode."""
        model.run_eagerly, model.jit_compile = True, False
        return self.by_keras(model)

    def by_keras(self, model: keras.Model) -> Step:
        """Return Keras's compiled training step."""

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(self._x, self._y, return_dict=True)["loss"])

        return step

    def by_loop(self, model: keras.Model, device: Device) -> Step:
        """Return the step of the adapter's loop."""
        backend = registry.current()
        if not isinstance(backend, Trains):
            raise BackendError(f"Backend '{backend.name}' cannot train: its adapter has no compile_loop.")
        loop = backend.compile_loop(model, device=device)
        data = Batches(self._x, self._y)
        rows = np.arange(len(self._start.x[0]))[None]

        def step() -> float:
            loop.reset_metrics()
            loss = loop.run(Chunk(data, rows)).read()["loss"]
            loop.commit()
            return loss

        return step

    def _ready(self, optimizer: Any, prepare: Callable[[keras.Model], Step], weights: Arrays | None) -> Step:
        ensure_compiled(self._model, optimizer=optimizer)
        if isinstance(self._model.optimizer, keras.optimizers.LossScaleOptimizer):
            self._model.optimizer.initial_scale = LOSS_SCALE
        self._restore(weights)
        return prepare(self._model)

    def _restore(self, weights: Arrays | None = None) -> None:
        set_start(self._model, weights or self._start.weights)
        for variable, value in self._others:
            variable.assign(value)


def compiled(model: keras.Model) -> keras.Model:
    """Compile the model as before, or as its builder recommends, without metrics."""
    if type(model).compile is not keras.Model.compile or (model.compiled and model.optimizer is None):
        raise ModelError(
            f"Cannot verify the model '{model.name}': it overrides compile, or was compiled without an "
            "optimizer. Verify a keras.Model that is compiled with an optimizer and a loss, or not compiled."
        )
    if model.built and not model.trainable_variables:
        raise ModelError(
            f"Cannot verify the model '{model.name}': it has no trainable weights, so it has no gradients."
        )
    known = model.compiled or record_of(model).architecture is not None
    ensure_compiled(model, loss=None if known else UNKNOWN_LOSS, metrics=[])
    return model


def silence(model: keras.Model) -> list[str]:
    """Switch the layers that use Keras's random generators to inference mode, and return their paths."""
    paths = foreign_draws(model)
    for path, layer in walk(model):
        if path in paths:
            if "training" not in signature(layer.call).parameters:
                raise ModelError(
                    f"Cannot verify the model '{model.name}': its layer '{path}' draws random numbers also in "
                    "inference, and they differ between backends. Add an argument `training` to its call, and draw "
                    "only in training."
                )
            _never_train(layer)
    return paths


def adapter_kernels(device: Device) -> AbstractContextManager[Any]:
    """Use the kernels of the current adapter, if it has any."""
    backend = registry.current()
    return backend.kernels(device) if isinstance(backend, Kernels) else nullcontext()


class _ScaledRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate schedule multiplied by a factor."""

    def __init__(self, schedule: Any, factor: float) -> None:
        self._schedule = schedule
        self._factor = factor

    def __call__(self, step: Any) -> Any:
        return self._schedule(step) * self._factor


def _with_rate(optimizer: Any, factor: float) -> Any:
    """Return the optimizer with its learning rate multiplied by a factor."""
    if factor == 1:
        return optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = rate_of(inner)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        set_schedule(inner, _ScaledRate(schedule, factor))
    else:
        inner.learning_rate = float(as_array(schedule)) * factor
    return optimizer


def _never_train(layer: Any) -> None:
    call = layer.call

    def in_inference(*inputs: Any, **options: Any) -> Any:
        return call(*inputs, **{**options, "training": False})

    layer.call = in_inference


def _record(found: Values, kind: str) -> See:
    """Return a function that records each layer's output in `found`."""

    def see(place: Any, operation: Any, inputs: Any, value: Any) -> Any:
        if hasattr(value, "dtype"):
            found[Quantity(kind, str(place))] = as_array(value)
        return value

    return see


def _watched(model: keras.Model, step: Step, see: See) -> Step:
    def run() -> float:
        with watched(model, see):
            return step()

    return run
