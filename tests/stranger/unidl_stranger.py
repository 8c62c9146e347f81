"""An adapter that is not ours: it needs nothing but Keras, so it runs on whatever KERAS_BACKEND says."""

import os
from contextlib import nullcontext

import numpy as np

from unidl.backend import Adapter, Device, Devices, MemoryUse


def batch(tree, rows):
    """Some rows of a nest of arrays."""
    import keras

    return keras.tree.map_structure(lambda array: array[rows], tree)


class StrangerLogs:
    def __init__(self, values):
        self.values = values

    def read(self):
        return dict(self.values)


class StrangerLoop:
    steps_per_dispatch = 1
    why_not_compiled = "it is only here to be a stranger"
    follows_values = follows_variables = True

    def __init__(self, model):
        self.model = model
        self.reset_metrics()

    def run(self, chunk):
        return self._accumulated(self.model.train_on_batch, chunk)

    def test(self, chunk):
        return self._accumulated(self.model.test_on_batch, chunk)

    def predict(self, chunk):
        import keras

        outputs = [self.model.predict_on_batch(batch(chunk.data.x, rows)) for rows in chunk.rows]
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)

    def reset_metrics(self):
        self.rows_seen, self.totals = 0, {}

    def commit(self):
        pass

    def _accumulated(self, step, chunk):
        # Keras's steps on single batches forget the batches before, so the means are kept here.
        for rows in chunk.rows:
            values = step(*(batch(part, rows) for part in chunk.data.parts()), return_dict=True)
            self.rows_seen += len(rows)
            for name, value in values.items():
                self.totals[name] = self.totals.get(name, 0.0) + float(value) * len(rows)
        return StrangerLogs({name: total / self.rows_seen for name, total in self.totals.items()})


class StrangerBackend:
    name = "stranger"

    def versions(self):
        return {"stranger": "1.0"}

    def devices(self):
        return Devices((Device("cpu"),), "a stranger knows only the CPU")

    def on(self, device):
        return nullcontext()

    def precision(self, policy):
        return nullcontext()

    def synchronise(self, tree):
        pass

    def memory(self, device, reset=False):
        return MemoryUse(None, None)

    def compile_loop(self, model, *, device, steps=None):
        return StrangerLoop(model)


ADAPTER = Adapter(
    name="stranger",
    framework="Stranger",
    keras_backend=os.environ["STRANGER_RUNS_ON"],
    module="unidl_stranger",
    distributions=("unidl-stranger",),
    install="pip install unidl-stranger",
    load=StrangerBackend,
)
