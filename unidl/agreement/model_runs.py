"""One model on one backend, run again and again from the same start, and all that it gives on the way.

Imports Keras: import it only where a backend is already in use.
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
"""Of a model of somebody's that was not compiled."""
LOSS_SCALE = 2.0**8
"""Of scaled losses. With Keras's 2**15 the first steps may overflow, and are left out while the scale shrinks."""

Step: TypeAlias = Callable[[], float]


class ModelRuns:
    """The runs of one compiled model. Layers that draw from Keras's own stream do as in inference, since that stream is
    another one on each backend; `silenced` has their paths."""

    def __init__(self, model: keras.Model, start: Start, steps: int) -> None:
        self._model = model
        self._start = start
        self._steps = steps
        self._x = packed(model, start.x)
        outputs = model(self._x, training=False)  # a model of a class of its own has its weights only now
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
        """Return everything that is compared.

        prepare: gives the step of the compiled model. see: looks at each layer first, and in steps that are taken
        eagerly as well. weights: instead of those of the start. rate_factor: what the learning rate is multiplied with.
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
        """Take a step with an optimizer that keeps the gradients."""
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
        """Steps of Keras, one operation after the other."""
        model.run_eagerly, model.jit_compile = True, False
        return self.by_keras(model)

    def by_keras(self, model: keras.Model) -> Step:
        """Steps of Keras as it compiles them."""

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(self._x, self._y, return_dict=True)["loss"])

        return step

    def by_loop(self, model: keras.Model, device: Device) -> Step:
        """Steps of the adapter's own loop."""
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
    """Compile the model as it was, or as its builder recommends, without metrics."""
    if type(model).compile is not keras.Model.compile or (model.compiled and model.optimizer is None):
        raise ModelError(
            f"Cannot verify the model '{model.name}': it has a compile method of its own, or was compiled without an "
            "optimizer. Verify it as a keras.Model that is compiled with an optimizer and a loss, or not at all."
        )
    if model.built and not model.trainable_variables:
        raise ModelError(f"Cannot verify the model '{model.name}': no weight of it learns, so it has no gradients.")
    known = model.compiled or record_of(model).architecture is not None
    ensure_compiled(model, loss=None if known else UNKNOWN_LOSS, metrics=[])
    return model


def silence(model: keras.Model) -> list[str]:
    """Let the layers that draw from Keras's own stream do what they do in inference, and return their paths."""
    paths = foreign_draws(model)
    for path, layer in walk(model):
        if path in paths:
            if "training" not in signature(layer.call).parameters:
                raise ModelError(
                    f"Cannot verify the model '{model.name}': its layer '{path}' draws random numbers in inference as "
                    "well, others on each backend. Give its call an argument `training`, and draw only in training."
                )
            _never_train(layer)
    return paths


def adapter_kernels(device: Device) -> AbstractContextManager[Any]:
    """Inside it Keras computes with the kernels of the adapter in use, if it has some."""
    backend = registry.current()
    return backend.kernels(device) if isinstance(backend, Kernels) else nullcontext()


class _ScaledRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule, times a factor."""

    def __init__(self, schedule: Any, factor: float) -> None:
        self._schedule = schedule
        self._factor = factor

    def __call__(self, step: Any) -> Any:
        return self._schedule(step) * self._factor


def _with_rate(optimizer: Any, factor: float) -> Any:
    """The optimizer with its learning rate multiplied."""
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
    """Return what writes each layer's output into `found`."""

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
