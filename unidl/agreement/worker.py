"""Runs of one backend in a separate process: `python -m unidl.agreement.worker`.

A process computes either in float64 or in the precisions of `unidl.precision`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.workers.serving import Answer, Command, serve

if TYPE_CHECKING:
    import keras

    from unidl.agreement.start import Start
    from unidl.backend import Backend, Device

TRAITS = ("padding", "interpolation", "antialias", "epsilon", "go_backwards", "momentum", "pool_size", "strides")
"""Arguments of a layer that help to explain why it disagrees."""


def main() -> None:
    """Answer commands until "stop", or until the parent exits."""
    serve(Worker().answer)


class Worker:
    """Answers commands for one backend. Every command names it in "backend", and its field "float64" states whether the
    process computes in float64."""

    def __init__(self) -> None:
        self._backend: Backend | None = None

    def answer(self, command: Command) -> Answer:
        """Execute one command."""
        return self.commands()[command["command"]](command)

    def commands(self) -> dict[str, Callable[[Command], Answer]]:
        """Return the commands by name."""
        return {"start": self._start, "oracle": self._oracle, "check": self._check, "trial": self._trial}

    def _start(self, command: Command) -> Answer:
        """Draw the weights and the batch."""
        subject, model, device = self.model(command)
        from unidl.agreement.start import draw_start, loss_names

        with self.backend().on(device):
            start = draw_start(model, subject, command["seed"])
            start.save(Path(command["start"]))
        loss = ", ".join(loss_names(model))
        return {"model": model.name, "parameters": int(model.count_params()), "loss": loss, "rows": len(start.x[0])}

    def _oracle(self, command: Command) -> Answer:
        """Compute the values in float64, and their bounds for each precision."""
        _, model, device = self.model(command)
        from unidl import precision as precisions
        from unidl.agreement.files import write
        from unidl.agreement.model_runs import ModelRuns, adapter_kernels
        from unidl.agreement.oracle import Oracle

        start = _read(command)
        with self.backend().on(device), adapter_kernels(device):
            runs = ModelRuns(model, start, command["steps"])
            oracle = Oracle(model, start, runs)
            values = oracle.values()
            write(Path(command["out"]), values)
            for precision, path in command["bounds"].items():
                write(Path(path), oracle.bounds(values, precisions.named(precision)))
        return {"layers": _layers(model, oracle), "silenced": runs.silenced}

    def _check(self, command: Command) -> Answer:
        """Compute the values in float64."""
        _, model, device = self.model(command)
        from unidl.agreement.files import write
        from unidl.agreement.model_runs import ModelRuns, adapter_kernels

        with self.backend().on(device), adapter_kernels(device):
            runs = ModelRuns(model, _read(command), command["steps"])
            write(Path(command["out"]), runs.values(runs.eagerly))
        return {}

    def _trial(self, command: Command) -> Answer:
        """Compute the values as in ordinary training with this implementation, on a device in a precision."""
        _, model, device = self.model(command)
        from unidl.agreement.files import write
        from unidl.agreement.model_runs import ModelRuns, adapter_kernels
        from unidl.training.running_precision import precision_of, require_training

        backend = self.backend()
        chosen = precision_of(model, command["precision"], device)
        with backend.on(device), backend.precision(chosen):
            runs = ModelRuns(model, _read(command), command["steps"])
            require_training(model, chosen)
            if command["implementation"] == "keras":
                values = runs.values(runs.by_keras)
            else:
                with adapter_kernels(device):
                    values = runs.values(lambda compiled: runs.by_loop(compiled, device))
            write(Path(command["out"]), values)
        return {"versions": backend.versions()}

    def model(self, command: Command, *, compile_it: bool = True) -> tuple[Any, keras.Model, Device]:
        """Return the subject, its model on the device, compiled unless it is only to compute outputs, and the
        device."""
        os.environ["UNIDL_DEVICE"] = command["device"]
        os.environ["UNIDL_PRECISION"] = command["precision"]
        backend = self.backend(command)
        import keras

        from unidl import devices, registry
        from unidl import precision as precisions
        from unidl.agreement.double import unroll
        from unidl.agreement.model_runs import compiled
        from unidl.agreement.subject import Subject

        keras.utils.clear_session()
        device = devices.resolve().device
        if not command["float64"]:
            policy = precisions.resolve(command["precision"], device).dtype_policy
            keras.config.set_dtype_policy(policy)
        fields = {name: value for name, value in command["subject"].items() if name != "input_shape"}
        shape = command["subject"]["input_shape"]
        subject = Subject(**fields, input_shape=None if shape is None else tuple(shape))
        with backend.on(device):
            model = compiled(subject.build()) if compile_it else subject.build()
        if command["float64"] and registry.adapters()[backend.name].compiles_loops:
            unroll(model)
        return subject, model, device

    def backend(self, command: Command | None = None) -> Backend:
        """The backend of this process."""
        if self._backend is None:
            if command is None:
                raise RuntimeError("the first command must build a model")
            self._backend = _load(command["backend"], float64=command["float64"])
        return self._backend


def _load(name: str, *, float64: bool) -> Backend:
    from unidl import registry

    registry.use(name, source="the verification")
    if float64:
        os.environ.update(registry.adapters()[name].float64)
    backend = registry.current()
    if float64:
        from unidl.agreement.double import compute_in_float64

        compute_in_float64()
    return backend


def _read(command: Command) -> Start:
    from unidl.agreement.start import Start

    return Start.load(Path(command["start"]))


def _layers(model: keras.Model, oracle: Any) -> list[Mapping[str, Any]]:
    """Return the compared layers in order of computation, with arguments that help to explain disagreement."""
    from unidl.agreement.watching import operations

    objects = {path: operation for path, operation in operations(model).values()}
    found: list[Mapping[str, Any]] = []
    for path in oracle.paths:
        operation = objects[path]
        traits = {name: getattr(operation, name) for name in TRAITS if hasattr(operation, name)}
        plain = {name: value for name, value in traits.items() if isinstance(value, str | int | float | tuple | list)}
        found.append({"path": path, "kind": type(operation).__name__, "traits": plain})
    return found


if __name__ == "__main__":
    main()
