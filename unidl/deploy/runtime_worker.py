"""Exported files run in a process that has no framework: `python -m unidl.deploy.runtime_worker`.

Formats that only a framework runs are run by that framework, without Keras.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from unidl.workers.serving import Answer, Command, serve


def main() -> None:
    """Answer commands until "stop", or until the parent exits."""
    serve(answer)


def answer(command: Command) -> Answer:
    """Answer one command."""
    return _measured(command) if command["command"] == "measure" else _computed(command)


def _measured(command: Command) -> Answer:
    """Measure the files of a folder beside those in float32."""
    from dataclasses import asdict

    import numpy as np

    from unidl.deploy import formats
    from unidl.deploy.description import interface_in
    from unidl.deploy.measuring import measured

    form, interface = formats.form(command["form"]), interface_in(command["interface"])
    both = [{name: (Path(command[key]) / name).read_bytes() for name in form.files} for key in ("folder", "full")]
    fewer, full = (form.runtime.open(files, interface).outputs for files in both)
    with np.load(command["test"]) as file:
        labels = file["labels"] if "labels" in file.files else None
        inputs = [file[name] for name in file.files if name != "labels"]
    sizes = tuple(sum(map(len, files.values())) for files in both)
    return {"measured": asdict(measured(fewer, full, inputs, labels, bytes=sizes, calibrated_on=None))}


def _computed(command: Command) -> Answer:
    """Open the files of a folder, and compute the outputs of all cases in batches of each size."""
    import numpy as np

    from unidl.deploy import formats
    from unidl.deploy.cases import read_cases
    from unidl.deploy.description import interface_in

    form = formats.form(command["form"])
    interface = interface_in(command["interface"])
    files = {name: (Path(command["folder"]) / name).read_bytes() for name in form.files}
    opened = form.runtime.open(files, interface)
    found: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for number, case in enumerate(read_cases(Path(command["cases"]))):
        for batch, rows in case.batches().items():
            try:
                outputs = _in_batches(opened.outputs, [leaf[:rows] for leaf in case.inputs], batch)
            except Exception as error:  # noqa: BLE001 - a runtime may raise anything: this batch size has no outputs
                failures[f"{number}|{batch}"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                continue
            found |= {f"{number}|{batch}|{place}": value for place, value in enumerate(outputs)}
    np.savez(Path(command["out"]), **found)
    return {
        "facts": None if opened.facts is None else dict(opened.facts),
        "interface": {
            kind: [vars(tensor) for tensor in getattr(opened.interface, kind)] for kind in ("inputs", "outputs")
        },
        "versions": dict(opened.versions),
        "frameworks": frameworks(),
        "failures": failures,
    }


def frameworks() -> list[str]:
    """Return the frameworks that this process has imported, and Keras if it has."""
    from unidl import registry

    names = {adapter.module for adapter in registry.adapters().values()} | {"keras"}
    return sorted(names & set(sys.modules))


def _in_batches(outputs: Any, leaves: list[Any], batch: int) -> list[Any]:
    import numpy as np

    rows = len(leaves[0])
    parts = [outputs([leaf[first : first + batch] for leaf in leaves]) for first in range(0, rows, batch)]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


if __name__ == "__main__":
    main()
