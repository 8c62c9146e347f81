"""What exists before the first batch: metrics with memory start each epoch and each evaluation afresh.

Without this a person reads more true positives than there are positives.
"""

from __future__ import annotations

import numpy as np
import pytest
from training import draws

from unidl import Trainer
from unidl.data import Split


def data(rows=40):
    x = draws(1).normal(size=(rows, 4)).astype(np.float32)
    return Split(x, (x[:, :1] > 0).astype(np.float32))


def detector(metrics, rate=0.5):
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")(inputs))
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", metrics=metrics)
    return model


def counters():
    import keras

    return [keras.metrics.TruePositives(name="hits"), keras.metrics.BinaryAccuracy(name="accuracy")]


def truth(trainer, rows):
    found = trainer.predict(rows.x) > 0.5
    return {"hits": float(np.sum(found & (rows.y > 0.5))), "accuracy": float(np.mean(found == (rows.y > 0.5)))}


def test_metric_objects_that_another_model_has_filled(backend):
    shared, rows = counters(), data()
    Trainer(detector(shared)).fit(rows, epochs=2, batch_size=8, progress="quiet")
    second = Trainer(detector(shared))
    found = second.evaluate(rows)
    assert {name: found[name] for name in ("hits", "accuracy")} == pytest.approx(truth(second, rows))


def test_the_first_epoch_counts_as_the_others(backend):
    """One model, a new trainer with another optimizer: with learning rate 0 two epochs are equal."""
    import keras

    model, rows = detector(counters()), data()
    Trainer(model).fit(rows, batch_size=8, progress="quiet")
    still = Trainer(model, optimizer=keras.optimizers.SGD(0.0))
    history = still.fit(rows, epochs=2, batch_size=8, validation=rows, progress="quiet").history
    for name, value in truth(still, rows).items():
        assert history[name] == pytest.approx([value] * 2)
        assert history[f"val_{name}"] == pytest.approx([value] * 2)


def test_a_run_that_goes_on_keeps_what_its_metrics_have_counted(backend, tmp_path):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    def run(*callbacks, **options):
        trainer = Trainer(detector(counters()))
        trainer.fit(data(), batch_size=8, epochs=2, progress="quiet", callbacks=list(callbacks), **options)
        return trainer

    with pytest.raises(KeyboardInterrupt):
        run(Stop(), checkpoint=tmp_path / "c", save_every_steps=2)
    found = run(checkpoint=tmp_path / "c", save_every_steps=2, resume=True)
    assert found.history == run().history


def test_callbacks_find_the_optimizer_and_the_metrics_made(backend):
    """As in Keras: one that fills a slot or a metric before training would find nothing to fill."""
    import keras

    seen = []

    class Looking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append((self.model.optimizer.built, len(self.model.metrics_variables)))

    model = detector(counters())
    Trainer(model).fit(data(), batch_size=8, progress="quiet", callbacks=[Looking()])
    assert seen == [(True, len(model.metrics_variables))]
