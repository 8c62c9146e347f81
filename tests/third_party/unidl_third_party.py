"""An adapter that is not ours: it needs nothing but Keras, so it runs on whatever KERAS_BACKEND says."""

import os
from contextlib import nullcontext

import numpy as np

from unidl.backend import Adapter, Device, Devices, MemoryUse


def batch(tree, rows):
    """Some rows of a nest of arrays."""
    import keras

    return keras.tree.map_structure(lambda array: array[rows], tree)


class ThirdPartyLogs:
    def __init__(self, values):
        self.values = values

    def read(self):
        return dict(self.values)


class ThirdPartyLoop:
    steps_per_dispatch = 1
    why_not_compiled = "it is a test adapter"
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
        return ThirdPartyLogs({name: total / self.rows_seen for name, total in self.totals.items()})


class ThirdPartyBackend:
    name = "third_party"

    def versions(self):
        return {"third_party": "1.0"}

    def devices(self):
        return Devices((Device("cpu"),), "the test adapter supports only the CPU")

    def on(self, device):
        return nullcontext()

    def precision(self, policy):
        return nullcontext()

    def synchronise(self, tree):
        pass

    def memory(self, device, reset=False):
        return MemoryUse(None, None)

    def compile_loop(self, model, *, device, steps=None):
        return ThirdPartyLoop(model)


ADAPTER = Adapter(
    name="third_party",
    framework="ThirdParty",
    keras_backend=os.environ["THIRD_PARTY_RUNS_ON"],
    module="unidl_third_party",
    distributions=("unidl-third-party",),
    install="pip install unidl-third-party",
    load=ThirdPartyBackend,
)
