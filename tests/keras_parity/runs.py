"""A case trained by Keras and by the trainer, from the same weights on the same batches, and what came out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cases import BATCH, EPOCHS, Case

from unidl import Trainer, devices, registry

SEED = 7
SAVED_EVERY = 3
KILLED_AT = (1, 2)
"""Epoch and batch after which a run is killed, both from 0: a step after the last checkpoint, amid an epoch."""

NUMBERS = re.compile(r"_\d+")
"""What Keras appends to names that it has given before in a process."""


@dataclass(frozen=True)
class Outcome:
    """What a run gave. batches: the logs of each batch, if somebody looked. variables: the model's and its optimizer's
    at the end, by name. start: the model's at the beginning. why: why the steps were not compiled."""

    history: Mapping[str, Sequence[Any]]
    variables: Mapping[str, np.ndarray]
    start: Mapping[str, np.ndarray]
    batches: Sequence[Mapping[str, Any]] = ()
    why: str | None = None
    evaluated: Mapping[str, Any] = field(default_factory=dict[str, Any])
    predicted: Sequence[np.ndarray] = ()


class KilledError(Exception):
    """What stands for the death of a process."""


class Watch(keras.callbacks.Callback):
    """Keeps the logs of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[dict[str, Any]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches.append({name: np.array(value) for name, value in unnumbered(logs or {}).items()})


class Kill(keras.callbacks.Callback):
    """Ends a run by an exception."""

    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if (self.epoch, batch) == KILLED_AT:
            raise KilledError


def by_keras(case: Case, build: Callable[[], keras.Model] | None = None) -> Outcome:
    """Train by `keras.Model.fit`; the model that Keras computes rightly, unless another one is given."""
    if build is None:
        build = case.reference if case.reference and registry.current().name in case.faults else case.build
    model, watch = started(case, build), Watch()
    start = values_of(model)
    x, y, weight = (*case.data, None, None)[:3]
    with _computing():
        history = model.fit(
            x, y, sample_weight=weight, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[watch]
        ).history
        outcome = Outcome(unnumbered(history), values_of(model), start, watch.batches)
        if not case.evaluates:
            return outcome
        evaluated = unnumbered(
            model.evaluate(x, y, sample_weight=weight, batch_size=BATCH, verbose=0, return_dict=True)
        )
        predicted = keras.tree.flatten(model.predict(x, batch_size=BATCH, verbose=0))
    return replace(outcome, evaluated=evaluated, predicted=predicted)


def by_trainer(case: Case, *, watched: bool = True, **options: Any) -> Outcome:
    """Train by `Trainer.fit`. watched: whether a callback looks at each batch, which takes a dispatch for each."""
    model, watch = started(case, case.build), Watch()
    start = values_of(model)
    trainer = Trainer(model, device="cpu")
    data = case.data if len(case.data) > 1 else case.data[0]
    callbacks = [*options.pop("callbacks", ()), *([watch] if watched else [])]
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "progress": "quiet"} | options
    history = unnumbered(trainer.fit(data, callbacks=callbacks, **arguments).history)
    outcome = Outcome(history, values_of(model), start, watch.batches, trainer.why_not_compiled)
    if not case.evaluates:
        return outcome
    evaluated = unnumbered(trainer.evaluate(data, batch_size=BATCH))
    predicted = keras.tree.flatten(trainer.predict(case.data[0], batch_size=BATCH))
    return replace(outcome, evaluated=evaluated, predicted=predicted)


def resumed(case: Case, folder: Path) -> Outcome:
    """Train by `Trainer.fit`, which dies, and again on a fresh model, from the last checkpoint."""
    saving = {"checkpoint": folder, "save_every_steps": SAVED_EVERY}
    try:
        by_trainer(case, watched=False, callbacks=[Kill()], **saving)
    except KilledError:
        return by_trainer(case, watched=False, resume=True, **saving)
    raise AssertionError("the run was not killed")


def started(case: Case, build: Callable[[], keras.Model]) -> keras.Model:
    """The model with its first weights, which are the same in each call, where it is trained."""
    with _computing():
        return _started(case, build)


def _started(case: Case, build: Callable[[], keras.Model]) -> keras.Model:
    keras.utils.clear_session(free_memory=False)  # names are counted from the beginning, as in a process of its own
    keras.utils.set_random_seed(SEED)
    model = build()
    if case.built and not model.built:
        model(keras.tree.map_structure(lambda array: array[:BATCH], case.data[0]))
    # Models whose initial weights are drawn as Keras draws them: what is compared must not depend on that.
    drawn = np.random.default_rng(SEED)
    for weight in model.trainable_weights:
        value = np.array(keras.ops.convert_to_numpy(weight.value))
        weight.assign(value + 0.05 * drawn.normal(size=value.shape).astype(value.dtype))
    if build is not case.build:
        model.set_weights(started(case, case.build).get_weights())
    return model


def unnumbered(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics by the names that they have in a process of their own."""
    return {NUMBERS.sub("", name): value for name, value in logs.items()}


def values_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of all variables of a model and its optimizer."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    named = [("model", model.variables), ("optimizer", optimizer)]
    return {
        f"{owner} {place} {NUMBERS.sub('', variable.path.rpartition('/')[2])}": np.array(
            keras.ops.convert_to_numpy(variable.value)
        )
        for owner, variables in named
        for place, variable in enumerate(variables)
    }


def _computing() -> Any:
    return registry.current().on(devices.resolve("cpu").device)
