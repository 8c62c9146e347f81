"""Export, and outputs in float64, on one backend in a separate process: `python -m unidl.deploy.worker`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.agreement.worker import Worker
from unidl.workers.serving import Answer, Command, serve

if TYPE_CHECKING:
    import keras
    import numpy as np

    from unidl.computes import Interface


TRAINING_ROWS = 256
"""On which the ranges of values are found."""
TEST_ROWS = 10_000
"""Of which accuracy and classes are compared."""


def main() -> None:
    """Answer commands until "stop", or until the parent exits."""
    serve(DeployWorker().answer)


class DeployWorker(Worker):
    """Answers commands for one backend, as `unidl.agreement.worker.Worker` does."""

    def commands(self) -> dict[str, Callable[[Command], Answer]]:
        """Return the commands by name."""
        own = {"export": self._export, "reference": self._reference, "rows": self._rows_of_data}
        return super().commands() | own

    def _export(self, command: Command) -> Answer:
        """Write the files of a format and the model's architecture.json into a folder."""
        _, model, device = self.model(command, compile_it=False)
        from unidl.agreement.outputs import interface_of
        from unidl.backend import Exports
        from unidl.deploy import formats
        from unidl.deploy.description import facts_of
        from unidl.errors import BackendError
        from unidl.models.records import record_of
        from unidl.saving.saved_architecture import ARCHITECTURE, describe

        backend, form, interface = self.backend(), formats.form(command["form"]), interface_of(model)
        if not isinstance(backend, Exports):
            raise BackendError(f"Backend '{backend.name}' cannot export: its adapter has no method export.")
        _require_possible(model, interface, command)
        with backend.on(device):
            content = backend.export(model, command["kind"])
        files = form.finish(content, interface, facts_of(record_of(model), command["precision"]))
        for name, file in (files | {ARCHITECTURE: describe(model)}).items():
            (Path(command["folder"]) / name).write_bytes(file)
        return {"interface": asdict(interface), "versions": backend.versions()}

    def _reference(self, command: Command) -> Answer:
        """Choose the rows, unless they are given, and compute the outputs in float64 with their bounds."""
        import numpy as np

        _, model, device = self.model(command, compile_it=False)
        from unidl import precision as precisions
        from unidl.agreement.model_runs import adapter_kernels
        from unidl.agreement.outputs import ModelOutputs
        from unidl.deploy.cases import cases_of, write_cases

        given = command["rows"]
        leaves, rows = _given(Path(given)) if given else _rows(model, Path(command["subject"]["name"]), command["data"])
        oracle = ModelOutputs(model)
        interface = _in_float32(oracle.interface)
        cases = cases_of(leaves, interface)
        write_cases(Path(command["cases"]), cases)
        found: dict[str, Any] = {}
        bounds: list[list[float]] = []
        with self.backend().on(device), adapter_kernels(device):
            for number, case in enumerate(cases):
                inputs = [leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf for leaf in case.inputs]
                found |= {f"{number}|{place}": value for place, value in enumerate(oracle.outputs(inputs))}
                bounds.append(oracle.bounds(inputs, precisions.named(command["bounds_of"])))
        np.savez(Path(command["out"]), **found)
        return {"bounds": bounds, "rows": rows, "interface": asdict(interface)}

    def _rows_of_data(self, command: Command) -> Answer:
        """Write inputs of training rows, and test rows with their labels, as the model takes them."""
        import keras
        import numpy as np

        _, model, _ = self.model(command, compile_it=False)
        from unidl.agreement.outputs import interface_of
        from unidl.data.dataset import Split, take
        from unidl.runs.evaluation_data import evaluation_data

        data = evaluation_data(model, Path(command["subject"]["name"]), command["data"])
        dtypes = [tensor.dtype for tensor in interface_of(model).inputs]
        parts = {"training": (data.train, TRAINING_ROWS), "test": (data.test, TEST_ROWS)}
        counts: dict[str, int] = {}
        for part, (split, most) in parts.items():
            places = np.unique(np.linspace(0, len(split) - 1, most).astype(np.int64))
            rows = take(Split(split.x, split.y), places)
            leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(rows.x)]
            arrays: Any = {str(place): leaf.astype(dtypes[place]) for place, leaf in enumerate(leaves)}
            if part == "test" and isinstance(rows.y, np.ndarray) and rows.y.dtype.kind in "iu":
                arrays["labels"] = rows.y
            np.savez(Path(command[part]), **arrays)
            counts[part] = len(places)
        return {"rows": f"{counts['training']} training rows of {Path(data.name).name}"}


def _require_possible(model: keras.Model, interface: Interface, command: Command) -> None:
    """Raise `ModelError` if the format cannot hold the model. Unrolls its loops where the format needs that."""
    from unidl.agreement.double import unroll
    from unidl.deploy import formats
    from unidl.deploy.format import Model
    from unidl.errors import ModelError
    from unidl.layer_paths import walk

    form = formats.form(command["form"])
    described = Model(interface, frozenset(type(layer).__name__ for _, layer in walk(model)))
    why_not = form.why_not(described, command["backend"])
    if why_not is not None:
        raise ModelError(f"Cannot export {command['subject']['name']} to {form.name}: {why_not}.")
    if form.unrolls and not interface.has_free_length:
        unroll(model)


def _rows(model: keras.Model, run: Path, name: str | None) -> tuple[list[np.ndarray[Any, Any]], str]:
    """Return test rows of the data of a run, spread over all, and what they are."""
    import keras
    import numpy as np

    from unidl.data.dataset import Split, take
    from unidl.deploy.cases import ROWS
    from unidl.runs.evaluation_data import evaluation_data

    data = evaluation_data(model, run, name)
    places = np.unique(np.linspace(0, len(data.test) - 1, ROWS).astype(np.int64))
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(take(Split(data.test.x), places).x)]
    return leaves, f"{len(places)} test rows of {Path(data.name).name}"


def _given(path: Path) -> tuple[list[np.ndarray[Any, Any]], str]:
    import numpy as np

    with np.load(path) as file:
        leaves = [file[name] for name in file.files]
    return leaves, f"{len(leaves[0])} given rows"


def _in_float32(interface: Interface) -> Interface:
    """Return the interface that the model has outside float64."""
    from dataclasses import replace

    from unidl.computes import Interface

    def usual(tensors: Any) -> Any:
        return tuple(replace(one, dtype="float32") if one.dtype == "float64" else one for one in tensors)

    return Interface(usual(interface.inputs), usual(interface.outputs))


if __name__ == "__main__":
    main()
