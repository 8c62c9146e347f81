"""What a training step on TensorFlow takes: operations as `tf.profiler` records them."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from unidl.backend import Chunk, Operation, StepProfile
from unidl.errors import BackendError
from unidl_tensorflow.loop import TensorFlowLoop

WARM_STEPS, TIMED_STEPS = 2, 5
"""Steps before any counts, and those whose middle one is the time of a step; the others of a chunk are recorded."""

EVERYTHING = 3
"""The level at which TensorFlow's profiler also records operations that it takes for cheap."""

OUTER = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf")
"""Operations that only wait for those inside them, on other threads."""


class ProfiledTensorFlowLoop(TensorFlowLoop):
    """A loop whose steps are looked at."""

    def profile(self, chunk: Chunk) -> StepProfile:
        """Take the steps of a chunk one by one."""
        if self.why_not_compiled is not None:
            raise BackendError(f"Cannot profile the steps of this model on TensorFlow: {self.why_not_compiled}.")
        steps = [Chunk(chunk.data, rows[np.newaxis]) for rows in chunk.rows]
        seconds: list[float] = []
        for step in steps[: WARM_STEPS + TIMED_STEPS]:
            started = time.perf_counter()
            self.run(step).read()
            seconds.append(time.perf_counter() - started)
        recorded = steps[len(seconds) :]
        with tempfile.TemporaryDirectory() as folder:
            options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=EVERYTHING, python_tracer_level=0)
            with tf.profiler.experimental.Profile(folder, options):
                for step in recorded:
                    self.run(step).read()
            operations = tuple(_operations(Path(folder)))
        self.commit()
        return StepProfile(
            operations, len(recorded), statistics.median(seconds[WARM_STEPS:]), f"tf.profiler {tf.__version__}"
        )


def _plain(scope: str) -> str:
    """Return a scope with the names of Keras's layers: TensorFlow numbers each name that it has met before, as when
    the layer was built."""
    return "/".join(re.sub(r"_\d+$", "", word) for word in scope.split("/"))


def _operations(folder: Path) -> Iterator[Operation]:
    """Yield what each thread of the CPU, or stream of the GPU, has run. Events of operations are named
    "cnn/conv_1/Conv2D:Conv2D"."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    made: Any = xplane_pb2  # by a generator of code that is not read for types
    space = made.XSpace()
    for file in folder.rglob("*.xplane.pb"):
        space.ParseFromString(file.read_bytes())
        for plane in space.planes:
            for number, line in enumerate(plane.lines):
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    scope, colon, kind = name.partition(":")
                    if not colon or not kind.isidentifier() or kind in OUTER:
                        continue
                    start = line.timestamp_ns * 1e-9 + event.offset_ps * 1e-12
                    yield Operation(
                        kind, _plain(scope), start, start + event.duration_ps * 1e-12, f"{plane.name} {number}"
                    )
