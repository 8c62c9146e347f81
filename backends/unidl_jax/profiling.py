"""What a training step on JAX takes: memory as XLA counts it, and operations as `jax.profiler` records them."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unidl.backend import Chunk, Operation, StepProfile
from unidl.errors import BackendError
from unidl_jax.loop import JaxLoop

WARM_STEPS, TIMED_STEPS = 2, 5
"""Steps before any counts, and those whose middle one is the time of a step; the others of a chunk are recorded."""

NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*metadata=\{[^}]*op_name="([^"]*)"', re.MULTILINE)
"""An instruction of a compiled program, with the names of the JAX functions and Keras layers that it came from."""


class ProfiledJaxLoop(JaxLoop):
    """A loop whose steps are looked at."""

    def step_bytes(self, chunk: Chunk) -> int | None:
        """Return the temporary memory of the compiled step; nothing is computed. None if it is not compiled."""
        if self.why_not_compiled is not None:
            return None
        analysis = self._program(*self._arguments(chunk)).memory_analysis()
        return None if analysis is None else int(analysis.temp_size_in_bytes)

    def profile(self, chunk: Chunk) -> StepProfile:
        """Take the steps of a chunk one by one."""
        if self.why_not_compiled is not None:
            raise BackendError(f"Cannot profile the steps of this model on JAX: {self.why_not_compiled}.")
        state, data, _ = self._arguments(chunk)
        rows = chunk.rows.astype(np.int32)
        program = self._program(state, data, rows[0])
        seconds: list[float] = []
        for number, batch in enumerate(rows):
            if number == WARM_STEPS + TIMED_STEPS:
                break
            started = time.perf_counter()
            state, _ = jax.block_until_ready(program(state, data, batch))
            seconds.append(time.perf_counter() - started)
        recorded = rows[len(seconds) :]
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for batch in recorded:
                    state, _ = jax.block_until_ready(program(state, data, batch))
            operations = tuple(_operations(Path(folder), dict(NAMED.findall(program.as_text()))))
        self._state = state
        self.commit()
        return StepProfile(
            operations, len(recorded), statistics.median(seconds[WARM_STEPS:]), f"jax.profiler {jax.__version__}"
        )

    def _arguments(self, chunk: Chunk) -> tuple[Any, Any, Any]:
        """Return the state, the data on the device, and the rows of the first batch."""
        self._read_state(chunk)
        data, rows = next(iter(self._data.pieces(chunk)))
        return self._owned_state(), data, rows[0]

    def _program(self, state: Any, data: Any, rows: Any) -> Any:
        with self._kernels():
            return self._train_one.lower(state, data, rows).compile()


def _operations(folder: Path, scopes: dict[str, str]) -> Iterator[Operation]:
    """Yield what each thread of the CPU, or stream of the GPU, has run of the compiled program. scopes: by the names of
    its instructions."""
    for file in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for number, line in enumerate(plane.lines):
                for event in line.events:
                    if event.name in scopes or any(name == "hlo_op" for name, _ in event.stats):
                        yield Operation(
                            re.sub(r"\.\d+$", "", event.name),
                            _plain(scopes.get(event.name, "")),
                            event.start_ns * 1e-9,
                            (event.start_ns + event.duration_ns) * 1e-9,
                            f"{plane.name} {number}",
                        )


def _plain(scope: str) -> str:
    """Return the names of a scope without the transformations of JAX around them: jvp(cnn) is cnn."""
    return "/".join(re.sub(r"^(?:\w+\()+|\)+$", "", word) for word in scope.split("/"))
