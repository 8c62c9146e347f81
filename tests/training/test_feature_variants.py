"""Features of a few augmented variants of each image, computed once: what a head learns from them, and until when."""

from __future__ import annotations

import numpy as np
import pytest
from test_feature_store import computed  # noqa: F401 - a fixture
from training import assert_same_weights, differ, weights_of

from unidl import Stage, Trainer, fit_stages
from unidl.data import Split
from unidl.errors import ModelError, UsageError

pytestmark = pytest.mark.usefixtures("backend")

STEPS = "flip,brightness=0.3"
IMAGES = np.random.default_rng(0).random((10, 4, 4, 1)).astype(np.float32)
LABELS = IMAGES[:, :2].mean(axis=(1, 2, 3)).reshape(-1, 1) - IMAGES[:, 2:].mean(axis=(1, 2, 3)).reshape(-1, 1)
OPTIONS = {"batch_size": 4, "progress": "quiet"}


def made(steps=STEPS, seed=3):
    """An augmentation, if steps are given, a frozen layer and a head."""
    import keras

    from unidl.layers import Augmentation

    inputs = keras.Input((4, 4, 1))
    values = Augmentation(steps, seed=seed, name="augmentation")(inputs) if steps else inputs
    values = keras.layers.Flatten(name="flat")(values)
    values = keras.layers.Dense(6, activation="tanh", name="first", trainable=False)(values)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(values), name="varied")
    drawn = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(drawn.normal(scale=0.5, size=weight.shape))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mean_squared_error")
    return model


def variants(model, count):
    """The images as their variants are meant to be."""
    import keras

    from unidl.layers.variation import Variation, numbers_of_variant

    layer = model.get_layer("augmentation")
    numbers = keras.Input((layer.draws,))
    images = keras.Input((4, 4, 1))
    changing = keras.Model([images, numbers], Variation(layer)(images, numbers))
    drawn = [numbers_of_variant(layer, len(IMAGES), number) for number in range(count)]
    return [changing.predict([IMAGES, one], batch_size=10, verbose=0) for one in drawn]


def test_a_head_learns_from_the_variants_as_if_they_were_the_data_of_each_epoch(computed):  # noqa: F811
    """The order of rows, the optimizer, the validation on unchanged images: all as without."""
    held_out = Split(IMAGES[:4], LABELS[:4])
    trainer = Trainer(made())
    trainer.fit(Split(IMAGES, LABELS), epochs=4, feature_variants=2, validation=held_out, **OPTIONS)
    assert computed == [10, 4]
    by_hand = Trainer(made(steps=None))
    shown = variants(made(), 2)
    assert differ(shown[:1], shown[1:], tolerance=1e-3)
    losses = {"loss": [], "val_loss": []}
    for epoch in range(4):
        rows = Split(shown[epoch % 2], LABELS)
        by_hand.fit(rows, initial_epoch=epoch, epochs=epoch + 1, validation=held_out, **OPTIONS)
        for name, values in losses.items():
            values += by_hand.history[name]
    assert_same_weights(weights_of(trainer.model), weights_of(by_hand.model), tolerance=1e-5)
    for name, values in losses.items():
        np.testing.assert_allclose(trainer.history[name], values, rtol=1e-4)
    assert trainer.describe()["fit"]["feature_variants"] == 2


def test_a_run_goes_on_with_the_variant_of_its_epoch(tmp_path):
    data = Split(IMAGES, LABELS)
    whole, parts = Trainer(made()), Trainer(made())
    whole.fit(data, epochs=3, feature_variants=2, **OPTIONS)
    parts.fit(data, epochs=1, feature_variants=2, checkpoint=tmp_path, **OPTIONS)
    again = Trainer(made())
    again.fit(data, epochs=3, feature_variants=2, checkpoint=tmp_path, resume=True, **OPTIONS)
    assert all(np.array_equal(*pair) for pair in zip(weights_of(again.model), weights_of(whole.model), strict=True))
    with pytest.raises(UsageError, match="feature_variants was 2 there"):
        again.fit(data, epochs=4, feature_variants=3, checkpoint=tmp_path, resume=True, **OPTIONS)


def test_variants_are_kept_until_their_number_or_the_augmentation_changes(computed, capsys):  # noqa: F811
    trainer = Trainer(made())
    options = OPTIONS | {"progress": "lines"}
    trainer.fit(Split(IMAGES, LABELS), feature_variants=2, **options)
    trainer.fit(Split(IMAGES, LABELS), feature_variants=2, **options)
    assert computed == [10]
    assert "2 variants of 10 rows, once" in capsys.readouterr().out
    trainer.fit(Split(IMAGES, LABELS), feature_variants=1, **options)
    assert computed == [10, 10]
    assert "since the number of variants of each image is another" in capsys.readouterr().out
    layer = trainer.model.get_layer("augmentation")
    layer.steps = type(layer)("brightness=0.1").steps
    trainer.model.compile(optimizer=trainer.model.optimizer, loss="mean_squared_error")
    trainer.fit(Split(IMAGES, LABELS), feature_variants=1, **options)
    assert computed == [10, 10, 10]
    assert "or the preprocessing among them, are others" in capsys.readouterr().out


def test_stages_take_turns_with_them_where_it_saves_work(computed, capsys):  # noqa: F811
    """A stage of no more epochs than variants draws new images in each epoch, for the same work."""
    stages = [Stage(2, learning_rate=0.01), Stage(3, learning_rate=0.01), Stage(3, "first", learning_rate=0.01)]
    options = OPTIONS | {"progress": "lines", "stages": stages}
    fit_stages(made(), Split(IMAGES, LABELS), feature_variants=2, **options)
    assert computed == [10]
    assert capsys.readouterr().out.count("2 variants of 10 rows, once") == 1
    with pytest.raises(UsageError, match="with precompute_frozen=False"):
        fit_stages(made(), Split(IMAGES, LABELS), feature_variants=2, precompute_frozen=False, **options)


def test_a_model_that_does_not_augment_has_no_variants():
    with pytest.raises(ModelError, match=r"must begin with one unidl.layers.Augmentation, and there are 0"):
        Trainer(made(steps=None)).fit(Split(IMAGES, LABELS), feature_variants=2, **OPTIONS)
    with pytest.raises(ModelError, match="with feature_variants=4, an Augmentation may come before them"):
        Trainer(made()).fit(Split(IMAGES, LABELS), precompute_frozen=True, **OPTIONS)
