"""Tests of the roles of an adapter: each is implemented completely, with the arguments that unidl passes, or absent."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl import precision, roles
from unidl.backend import Backend, Batches, Chunk, Device, Logs, Native, Reference, Task, TrainLoop, Trains
from unidl.errors import BackendError
from unidl.layer_paths import named_weights
from unidl.testing.expecting import expect
from unidl.testing.linear import LinearCase

REFERENCE_TOLERANCE = 1e-4
"""For sums of about a thousand float32 products through four layers, in a different order."""


class RolesOfAdapter:
    """A part of `unidl.testing.BackendConformance`."""

    _device: Device

    def test_methods_take_what_unidl_passes(self) -> None:
        """A method with other arguments would fail during a run with a TypeError that does not name the plugin."""
        backend = self._backend()
        expect(roles.why_not(backend) is None, str(roles.why_not(backend)))
        if isinstance(backend, Trains):
            case = LinearCase(steps=1, batch=4)
            loop = backend.compile_loop(case.model, device=self._device)
            expect(roles.why_not_as(loop, TrainLoop) is None, str(roles.why_not_as(loop, TrainLoop)))
            logs = loop.test(Chunk(case.data, case.rows))
            loop.commit()
            expect(roles.why_not_as(logs, Logs) is None, str(roles.why_not_as(logs, Logs)))

    def test_a_loop_says_what_it_does(self) -> None:
        """The trainer reads the steps per dispatch, and warns about values that compiled steps do not follow."""
        backend = self._backend()
        if not isinstance(backend, Trains):
            self._skip(backend, "Trains")
        else:
            loop = backend.compile_loop(LinearCase(steps=1, batch=4).model, device=self._device)
            steps, why_not = loop.steps_per_dispatch, loop.why_not_compiled
            expect(isinstance(steps, int) and steps >= 1, f"steps_per_dispatch is {steps!r}")
            expect(why_not is None or bool(why_not), "why_not_compiled is an empty reason")
            for name in ("follows_values", "follows_variables"):
                expect(isinstance(getattr(loop, name), bool), f"{name} is {getattr(loop, name)!r}")

    def test_a_reference_begins_where_the_model_does(self) -> None:
        """A comparison with a reference that computes something else is meaningless."""
        backend = self._backend()
        if not isinstance(backend, Native):
            self._skip(backend, "Native")
            return
        from keras import ops

        from unidl.models import build_cnn

        model = build_cnn()
        generator = np.random.default_rng(0)
        data = Batches(
            generator.uniform(size=(8, 28, 28, 1)).astype(np.float32), generator.integers(10, size=8).astype(np.int32)
        )
        weights = {path: np.array(ops.convert_to_numpy(weight)) for path, weight in named_weights(model).items()}
        task = Task("cnn", weights, data, 1e-3, self._device, precision.FLOAT32)
        reference = backend.reference(task)
        expect(roles.why_not_as(reference, Reference) is None, str(roles.why_not_as(reference, Reference)))
        expected = np.asarray(ops.convert_to_numpy(model(data.x, training=False)))
        found = np.asarray(reference.predict(data.x))
        np.testing.assert_allclose(found, expected, rtol=REFERENCE_TOLERANCE, atol=REFERENCE_TOLERANCE)
        loss = float(np.mean(-np.log(expected[np.arange(8), data.y])))
        rows = np.arange(8, dtype=np.int64)[np.newaxis]
        np.testing.assert_allclose(reference.train(rows), loss, rtol=REFERENCE_TOLERANCE)
        expect(reference.train(rows) < loss, "a step on the same rows does not lower their loss")

    def test_a_model_without_a_reference_is_refused(self) -> None:
        """Otherwise a comparison would report the speed of a different model under this name."""
        backend = self._backend()
        if not isinstance(backend, Native):
            self._skip(backend, "Native")
            return
        case = LinearCase(steps=1, batch=4)
        task = Task("an unknown model", {}, case.data, 1e-3, self._device, precision.FLOAT32)
        try:
            backend.reference(task)
        except BackendError:
            return
        raise AssertionError("a reference for an unknown model is not rejected with a BackendError")

    @staticmethod
    def _skip(backend: Any, role: str) -> None:
        import pytest

        pytest.skip(f"{backend.name} has no role {role}")

    def _backend(self) -> Backend:
        """Return the backend under test; `BackendConformance` provides it."""
        raise NotImplementedError
