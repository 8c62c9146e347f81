"""Training on mixed batches: the loss of both labels, the same numbers on every backend, a resume that repeats none.
Without this a model would learn from images with the labels of others."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_weights, dense, pictures, points, sentences, small_cnn, small_lstm, weights_of

from unidl import Trainer, load_model
from unidl.backend import Batches
from unidl.data import Split
from unidl.errors import ModelError, UsageError
from unidl.random import derived_seed

LOSSES = [0.27398282289505005, 0.36445367336273193, 0.37622782588005066, 0.29382190108299255]
"""Of the first four epochs below."""


def mixes(*both):
    from unidl.layers import CutMix, Mixup

    return [Mixup(0.4), CutMix(1.0)][: 2 if not both else both[0]]


def standing(**options):
    """A model that does not learn, so that its loss follows from the draws alone."""
    import keras

    return Trainer(dense(optimizer=keras.optimizers.SGD(0.0), metrics=["mean_absolute_error"], **options))


def outputs(model, x):
    kernel, bias, last, shift = (weight.astype(np.float64) for weight in weights_of(model))
    return np.tanh(x @ kernel + bias) @ last + shift


def test_the_loss_is_that_of_both_labels_with_their_weights(backend):
    """By hand, from the shares that a layer with this seed draws; metrics count a row by its own label."""
    from keras import ops

    from unidl.layers import Mixup
    from unidl.layers.mixing import Mixing

    data, trainer = points(8), standing()
    weights = np.linspace(0.2, 1.0, 8, dtype=np.float32)
    history = trainer.fit(
        data.x, data.y, 8, epochs=4, shuffle=False, sample_weight=weights, mix=Mixup(0.4), progress="quiet"
    ).history
    layer = Mixing(Mixup(0.4), seed=derived_seed(0, "mixing", 0))
    expected, errors = [], []
    for _ in range(4):
        mixed = np.asarray(ops.convert_to_numpy(layer(ops.convert_to_tensor(data.x), training=True)), np.float64)
        share = float(ops.convert_to_numpy(layer.share))
        found = outputs(trainer.model, mixed)
        own, other = (
            np.mean(weight * (found - y)[:, 0] ** 2) for weight, y in ((weights, data.y), (weights[::-1], data.y[::-1]))
        )
        expected.append(share * own + (1 - share) * other)
        errors.append(np.abs(found - data.y).mean())
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(history["loss"], LOSSES, rtol=1e-5)
    np.testing.assert_allclose(history["mean_absolute_error"], errors, rtol=1e-5)


def test_images_and_integer_labels_and_a_run_that_resumes_to_the_bit(backend, tmp_path):
    """Sparse crossentropy, class weights and accuracy; the model is evaluated, and saved, as if nothing were mixed."""
    data, held_out = pictures(24), pictures(8, seed=1)
    options = {"batch_size": 8, "validation": held_out, "mix": mixes(), "progress": "quiet"}
    options["class_weight"] = {0: 2.0}

    def trained(*epochs, **more):
        trainer = Trainer(small_cnn())
        for last in epochs:
            trainer.fit(data, epochs=last, **options, **more)
        return trainer

    whole = trained(2)
    assert whole.history["val_loss"][-1] == pytest.approx(whole.evaluate(held_out)["loss"], rel=1e-5)
    assert whole.describe()["fit"]["mix"] == [
        {"mix": "mixup", "alpha": 0.4, "probability": 1.0},
        {"mix": "cutmix", "alpha": 1.0, "probability": 1.0},
    ]
    trained(1, checkpoint=tmp_path / "kept", save_every_steps=2)
    resumed = trained(2, checkpoint=tmp_path / "kept", save_every_steps=2, resume=True)
    assert_same_weights(weights_of(resumed.model), weights_of(whole.model))
    assert resumed.history == whole.history
    with pytest.raises(UsageError, match="mix was"):
        Trainer(small_cnn()).fit(data, epochs=3, checkpoint=tmp_path / "kept", resume=True, **options | {"mix": None})
    whole.save(tmp_path / "saved")
    assert len(load_model(tmp_path / "saved").layers) == len(whole.model.layers)


def test_batches_are_mixed_after_the_augmentation_that_a_model_begins_with(backend):
    """As images are augmented one by one; a box would be turned otherwise."""
    from unidl.training.mixed_batches import mixed_model

    model = small_cnn(augment="flip")
    Trainer(model)
    names = [layer.name for layer in mixed_model(model, mixes(), 0).layers]
    assert names[1:4] == ["augmentation", "unidl_mixing", "conv_1"]


def test_what_cannot_be_mixed_is_refused(backend):
    import keras

    class Own(keras.Model):
        def train_step(self, *given):
            return super().train_step(*given)

    def own():
        inputs = keras.Input((3,))
        model = Own(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse")
        return model

    cases = [
        (dense(), points(8), {"mix": mixes()}, ModelError, "CutMix needs images"),
        (small_lstm(), sentences(8), {"mix": mixes(1)}, ModelError, "it takes int32, such as tokens"),
        (own(), points(8), {"mix": mixes(1)}, ModelError, "it overrides train_step"),
        (dense(), points(8), {"mix": mixes(1), "precompute_frozen": True}, UsageError, "with precompute_frozen=True"),
        (dense(), points(8), {"mix": "mixup"}, UsageError, "Cannot mix with"),
    ]
    for model, data, options, error, said in cases:
        with pytest.raises(error, match=said):
            Trainer(model).fit(Split(data.x, data.y), batch_size=4, progress="quiet", **options)


def test_bytes_are_scaled_as_the_model_takes_them_now(backend):
    """The model that mixes is kept for the next fit, before which the model may have learned another range."""
    from unidl.layers import Mixup

    class Bytes:
        """Images that are read as they are needed."""

        form = Batches(np.empty((0, 4, 4, 1), np.uint8), np.empty((0,), np.int32))
        fingerprint = str

        def __len__(self):
            return 8

        def read(self, rows):
            return Batches(
                np.resize(rows * 30, (4, 4, 1, len(rows))).T.reshape(-1, 4, 4, 1).astype(np.uint8),
                (rows % 4).astype(np.int32),
            )

    signed = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32), np.arange(8) % 4
    found = []
    for mix in (None, Mixup(probability=0.0)):
        import keras

        layers = [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, "softmax", kernel_initializer="zeros"),
        ]
        trainer = Trainer(keras.Sequential(layers), optimizer="sgd", loss="sparse_categorical_crossentropy")
        for data in (signed, Bytes()):
            trainer.fit(data, batch_size=8, mix=mix, progress="quiet")
        found.append(weights_of(trainer.model))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
