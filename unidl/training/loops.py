"""The compiled loops of a model: created on first use, and again whenever the model is compiled again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unidl import roles
from unidl.backend import Distributes, TrainLoop, Trains
from unidl.devices import Placement
from unidl.errors import BackendError
from unidl.models.records import note, record_of
from unidl.training.compiled_in import CompiledIn
from unidl.training.compiling import same, signature
from unidl.training.feature_store import FeatureStore
from unidl.training.frozen_front import FrozenFront

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from unidl.layers.mixing import Mix


class Loops:
    """The loops of one model on the devices of a placement."""

    def __init__(self, backend: Trains, model: keras.Model, placement: Placement, computed_by: str) -> None:
        """computed_by: backend, device and precision in words."""
        self._backend, self._model, self._placement, self._device = backend, model, placement, placement.device
        self._loop: TrainLoop | None = None
        self._front: FrozenFront | None = None
        self._mixed: tuple[Any, keras.Model, TrainLoop] | None = None
        self._signature: tuple[Any, ...] = ()
        self.features = FeatureStore()
        self.computed_by = computed_by

    def of_model(self) -> TrainLoop:
        """Return the loop of the model as currently compiled."""
        current = signature(self._model)
        if self._loop is None or not same(current, self._signature):
            self._loop = self._compiled(self._model)
            self._compiled_in = CompiledIn(self._model, self._loop)
            self._front = self._mixed = None
            self._signature = current
        return self._loop

    def of_front(self, *, varied: bool = False) -> FrozenFront:
        """Return the frozen front of the model as currently compiled, and the loop of the layers after it. varied:
        whether the front holds an augmentation."""
        self.of_model()
        if self._front is None or self._front.varied != varied:
            self._front = FrozenFront(self._model, self._compiled, varied=varied)
        return self._front

    def of_mixed(self, mixes: Sequence[Mix], seed: int) -> tuple[keras.Model, TrainLoop]:
        """Return a model of the layers of this one that mixes batches in training, and its loop. seed: of its draws."""
        from unidl.training.mixed_batches import mixed_model

        self.of_model()
        if self._mixed is None or self._mixed[0] != (mixes, seed):
            mixed = mixed_model(self._model, mixes, seed)
            self._mixed = (mixes, seed), mixed, self._compiled(mixed)
        note(self._mixed[1], value_range=record_of(self._model).value_range)  # which new data may have changed
        return self._mixed[1:]

    def of_single_steps(self) -> TrainLoop:
        """A new loop of the model, whose metrics can be read after each step, and which is used for nothing else."""
        return self._backend.compile_loop(self._model, device=self._device, steps=1)

    def look(self) -> None:
        """Warn about values that the steps of the model do not follow."""
        self._compiled_in.look()

    def _compiled(self, model: keras.Model) -> TrainLoop:
        loop = self._loop_of(model)
        why_not = roles.why_not_as(loop, TrainLoop)
        if why_not is not None:
            raise BackendError(f"Cannot train with the loop returned by the adapter's compile_loop: {why_not}.")
        return loop

    def _loop_of(self, model: keras.Model) -> TrainLoop:
        if not self._placement.is_shared:
            return self._backend.compile_loop(model, device=self._device)
        if not isinstance(self._backend, Distributes):
            raise BackendError("Cannot train on several devices: the adapter has no compile_shared_loop.")
        from unidl.scale.exact import ExactLoop
        from unidl.scale.whole_batch import WholeBatch

        devices = self._placement.devices
        loop = self._backend.compile_shared_loop(model, devices=devices, within=WholeBatch(model))
        count = self._placement.size * len(devices)
        exact: Any = ExactLoop(model, loop, divides_by=count if self._backend.divides_evenly else None)
        return exact
