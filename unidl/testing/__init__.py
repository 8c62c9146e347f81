"""The conformance suite for adapters. Subclass it in the tests of an adapter and run pytest.

    from unidl.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        backend_name = "mine"

Expected numbers come from NumPy, so one backend is enough to run it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl import devices, precision, registry
from unidl.backend import Adapter, Backend, Batches, Chunk, KernelOff, Kernels, TrainLoop, Trains
from unidl.testing.expecting import FLOAT32_TOLERANCE, expect, expect_loss
from unidl.testing.linear import LEARNING_RATE, LinearCase
from unidl.testing.roles import RolesOfAdapter
from unidl.testing.shapes import ShapesOfData

if TYPE_CHECKING:
    import keras

__all__ = ["FLOAT32_TOLERANCE", "BackendConformance", "LinearCase", "expect", "expect_loss"]


class BackendConformance(RolesOfAdapter, ShapesOfData):
    """Tests of one adapter: subclass it, and name the adapter by its entry point.

    The tests of a role need no other role.

    Attributes:
        backend_name (str): The name of the adapter's entry point.
    """

    backend_name: str

    def setup_method(self) -> None:
        """Set up the device and float32, as the trainer does."""
        backend = self._backend()
        self._device = devices.resolve().device
        self._inside = ExitStack()
        self._inside.enter_context(backend.on(self._device))
        self._inside.enter_context(backend.precision(precision.FLOAT32))

    def teardown_method(self) -> None:
        """Restore the device and the precision."""
        self._inside.close()

    def test_the_adapter_is_found_by_its_entry_point(self) -> None:
        """Otherwise UNIDL_BACKEND reports the backend as unknown."""
        adapter = self._adapter()
        expect(adapter.name == self.backend_name, f"the adapter is named {adapter.name!r}")
        expect(registry.version(adapter) is not None, f"{adapter.framework} is not installed here")

    def test_the_backend_says_who_it_is(self) -> None:
        """A run without recorded versions cannot be reproduced."""
        backend = self._backend()
        expect(isinstance(backend, Backend), "it lacks members of unidl.backend.Backend")
        expect(backend.name == self.backend_name, f"the backend is named {backend.name!r}")
        expect(all(backend.versions().values()), f"a version is missing in {backend.versions()}")

    def test_devices_start_with_a_cpu(self) -> None:
        """`auto` falls back to the first device."""
        devices = self._backend().devices()
        expect(devices.found[0].id == "cpu:0", f"the first device is {devices.found[0].id}")
        ids = [device.id for device in devices.found]
        expect(len(set(ids)) == len(ids), f"two devices have the same name: {ids}")
        if devices.cpu_only is not None:
            expect(all(device.kind == "cpu" for device in devices.found), "a CPU-only build lists a GPU")

    def test_every_float32_precision_can_be_entered_twice_and_left(self) -> None:
        """A precision that leaks out of its context changes the results of the rest of the program."""
        backend = self._backend()
        factor = np.full((8, 8), 1 + 2.0**-20, dtype=np.float32)
        expected = factor @ factor
        with backend.precision(precision.named("tf32")), backend.precision(precision.FLOAT32):
            inside = self._product(factor)
        np.testing.assert_allclose(inside, expected, rtol=FLOAT32_TOLERANCE)
        np.testing.assert_allclose(self._product(factor), expected, rtol=FLOAT32_TOLERANCE)

    def test_kernels_are_in_use_or_say_why_not(self) -> None:
        """If a kernel is disabled silently, training is slower than documented, or its results are wrong."""
        import pytest

        backend = self._backend()
        if not isinstance(backend, Kernels):
            pytest.skip(f"{backend.name} has no role Kernels")
        for device in backend.devices().found:
            for off in backend.kernels_off(device):
                expect(isinstance(off, KernelOff), f"kernels_off of {device.id} returns a {type(off).__name__}")
                expect(bool(off.name and off.why), f"it does not state which kernel is disabled, or why: {off!r}")
        values = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
        expected = self._product(values.T @ values)
        with backend.kernels(self._device), backend.kernels(self._device):
            np.testing.assert_allclose(self._product(values.T @ values), expected, rtol=FLOAT32_TOLERANCE)
        np.testing.assert_allclose(self._product(values.T @ values), expected, rtol=FLOAT32_TOLERANCE)

    def test_memory_is_known_or_none(self) -> None:
        """A comparison prints these as bytes."""
        backend = self._backend()
        for device in backend.devices().found:
            use = backend.memory(device, reset=True)
            for value in (use.current_bytes, use.peak_bytes):
                expect(value is None or value >= 0, f"{device.id} uses {value} bytes")

    def test_steps_are_those_of_gradient_descent(self) -> None:
        """The weights after several steps equal those computed by NumPy, in one chunk or in many."""
        for chunk_steps in (1, 3):
            case = LinearCase(steps=3, batch=4)
            loop = self._loop(case.model, chunk_steps)
            for first in range(0, 3, chunk_steps):
                loop.run(Chunk(case.data, case.rows[first : first + chunk_steps]))
            loop.commit()
            kernel, bias, _ = case.expected()
            np.testing.assert_allclose(case.weights()[0], kernel, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)
            np.testing.assert_allclose(case.weights()[1], bias, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)

    def test_logs_are_means_since_the_reset(self) -> None:
        """If the loss included the previous epoch, early stopping would stop late."""
        case = LinearCase(steps=3, batch=4)
        loop = self._loop(case.model, 3)
        _, _, losses = case.expected()
        expect_loss(loop.run(Chunk(case.data, case.rows)), float(np.mean(losses)))
        loop.reset_metrics()
        loop.commit()
        kernel, bias = case.weights()
        expect_loss(loop.test(Chunk(case.data, case.rows[:1])), case.loss(kernel, bias, case.rows[0]))

    def test_metrics_that_were_used_before_start_afresh(self) -> None:
        """Metric objects may contain the state of another model."""
        import keras

        from unidl.model_state import build

        case = LinearCase(steps=1, batch=4)
        metric = keras.metrics.MeanAbsoluteError(name="error")
        metric.update_state(np.full((4, 1), 100.0), np.zeros((4, 1)))
        case.model.compile(keras.optimizers.SGD(LEARNING_RATE), "mean_squared_error", metrics=[metric])
        loop = self._loop(case.model, 1)
        build(case.model, Batches(case.data.x[:4], case.data.y[:4]).as_keras())
        loop.reset_metrics()
        logs = loop.test(Chunk(case.data, case.rows))
        loop.commit()
        kernel, bias = case.weights()
        expected = np.mean(np.abs(case.outputs(kernel, bias, case.rows[0]) - case.data.y[case.rows[0]]))
        np.testing.assert_allclose(logs.read()["error"], expected, rtol=FLOAT32_TOLERANCE)

    def test_logs_stay_what_they_were(self) -> None:
        """The trainer reads the logs of one chunk while the next one is computed."""
        case = LinearCase(steps=3, batch=4)
        loop = self._loop(case.model, 1)
        first = loop.run(Chunk(case.data, case.rows[:1]))
        loop.run(Chunk(case.data, case.rows[1:]))
        expect_loss(first, case.expected()[2][0])

    def test_a_smaller_last_batch_trains(self) -> None:
        """Rows that are left out of every epoch are never learned."""
        case = LinearCase(steps=2, batch=4)
        loop = self._loop(case.model, 2)
        loop.run(Chunk(case.data, case.rows))
        loop.commit()
        before = case.weights()
        loop.run(Chunk(case.data, case.rows[:1, :2]))
        loop.commit()
        kernel, bias, _ = case.stepped(before[0], before[1], case.rows[0, :2])
        np.testing.assert_allclose(case.weights()[0], kernel, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)
        np.testing.assert_allclose(case.weights()[1], bias, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)

    def test_testing_and_predicting_change_no_weight(self) -> None:
        """Predictions are in the order of the rows, and do not change the weights."""
        case = LinearCase(steps=2, batch=4)
        loop = self._loop(case.model, 2)
        before = case.weights()
        loop.test(Chunk(case.data, case.rows))
        outputs = loop.predict(Chunk(Batches(case.data.x), case.rows))
        loop.commit()
        for value, kept in zip(case.weights(), before, strict=True):
            np.testing.assert_array_equal(value, kept)
        expected = case.outputs(before[0], before[1], case.rows.reshape(-1))
        np.testing.assert_allclose(outputs, expected, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)

    def test_changes_after_commit_are_seen(self) -> None:
        """A callback may restore the best weights or lower the learning rate."""
        case = LinearCase(steps=1, batch=4)
        loop = self._loop(case.model, 1)
        loop.run(Chunk(case.data, case.rows))
        loop.commit()
        case.model.set_weights([np.zeros_like(value) for value in case.weights()])
        case.model.optimizer.learning_rate = 0.0
        loop.run(Chunk(case.data, case.rows))
        loop.commit()
        for value in case.weights():
            np.testing.assert_array_equal(value, 0.0)

    def test_sample_weights_count(self) -> None:
        """A row of weight 0 has no effect."""
        case = LinearCase(steps=1, batch=4)
        weights = np.array([1, 1, 0, 0], dtype=np.float32)
        data = Batches(case.data.x, case.data.y, np.resize(weights, len(case.data.x)))
        before = case.weights()
        loop = self._loop(case.model, 1)
        loop.run(Chunk(data, case.rows))
        loop.commit()
        # Keras divides the weighted sum by the number of rows, not by the sum of the weights.
        row_weights = data.sample_weight[case.rows[0]]
        kernel, bias, _ = case.stepped(before[0], before[1], case.rows[0], row_weights=row_weights)
        np.testing.assert_allclose(case.weights()[0], kernel, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)
        np.testing.assert_allclose(case.weights()[1], bias, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)

    def _adapter(self) -> Adapter:
        return registry.adapters()[self.backend_name]

    def _backend(self) -> Backend:
        backend = registry.current()
        expect(
            backend.name == self.backend_name,
            f"this process runs {backend.name!r}: start it with UNIDL_BACKEND={self.backend_name}",
        )
        return backend

    def _loop(self, model: keras.Model, steps: int) -> TrainLoop:
        backend = self._backend()
        if not isinstance(backend, Trains):
            import pytest

            pytest.skip(f"{backend.name} has no role Trains")
        return backend.compile_loop(model, device=self._device, steps=steps)

    @staticmethod
    def _product(factor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        from keras import ops

        return np.asarray(ops.convert_to_numpy(ops.matmul(factor, factor)))
