"""Features kept for the next training: without a key for all that is under them, a model learns from old ones."""

from __future__ import annotations

import numpy as np
import pytest
from test_frozen_front import frozen
from training import assert_same_weights, points, weights_of

from unidl import Stage, Trainer, fit_stages
from unidl.data import Split
from unidl.errors import DataError
from unidl.machine.memory import Memory
from unidl.models import note
from unidl.models.cutting import cut
from unidl.training import feature_store, frozen_front
from unidl.training.frozen_front import FrozenFront


@pytest.fixture
def computed(monkeypatch):
    """How many rows went through the front, each time."""
    rows = []
    compute = FrozenFront._computed

    def counted(self, data, *rest):
        rows.append(len(data))
        return compute(self, data, *rest)

    monkeypatch.setattr(FrozenFront, "_computed", counted)
    return rows


def fit(trainer, data=None, **options):
    options = {"batch_size": 4, "progress": "quiet", "precompute_frozen": True} | options
    trainer.fit(points(22) if data is None else data, **options)


def prescaled():
    """A model whose preprocessing, frozen layer and head are layers of their own."""
    import keras

    inputs = keras.Input((3,))
    values = keras.layers.Rescaling(0.5, name="scale")(inputs)
    values = keras.layers.Dense(4, activation="tanh", name="first", trainable=False)(values)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(values), name="prescaled")
    drawn = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(drawn.normal(scale=0.5, size=weight.shape))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mean_squared_error")
    return model


def changed_row(data):
    x = data.x.copy()
    x[13, 2] += 1e-3
    return Split(x, data.y)


def change(part, trainer):
    """Change one part of what features depend on; return the data and the size of batches to train with."""
    model, data = trainer.model, points(22)
    if part == "weights":
        model.get_layer("first").bias.assign(np.ones(4))
    elif part == "layers":
        model.get_layer("scale").scale = 0.25
        model.compile(optimizer=model.optimizer, loss="mean_squared_error")
    elif part == "computed by":
        trainer._loops.computed_by = "another device"
    return changed_row(data) if part == "data" else data, 8 if part == "batch size" else 4


@pytest.mark.parametrize("part", [part for part in feature_store.PARTS if part != "variants"])
def test_features_are_kept_until_a_part_of_what_is_under_them_changes(backend, computed, capsys, part):
    trainer = Trainer(prescaled())
    fit(trainer)
    fit(trainer, progress="lines")
    assert computed == [22]
    assert "what its frozen layers gave for 22 rows is still there" in capsys.readouterr().out
    data, size = change(part, trainer)
    fit(trainer, data, batch_size=size, progress="lines")
    assert computed == [22, 22]
    assert f"anew, since {feature_store.PARTS[part]}" in capsys.readouterr().out


def test_kept_features_train_the_same_head(backend, computed):
    """Two trainings, the second on features that the first has left; beside two that compute every layer each time."""
    once, plain = Trainer(frozen()), Trainer(frozen())
    for first in (0, 2):
        fit(once, initial_epoch=first, epochs=first + 2, validation=points(7, seed=1))
        fit(plain, initial_epoch=first, epochs=first + 2, validation=points(7, seed=1), precompute_frozen=False)
    assert computed == [22, 7]
    assert_same_weights(weights_of(once.model), weights_of(plain.model), tolerance=1e-5)
    once.forget_features()
    fit(once)
    assert computed == [22, 7, 22]


def test_labels_are_those_of_now(backend, computed):
    """They are no part of the features: other labels need no other pass."""
    model = frozen()
    trainer = Trainer(model)
    data = points(22)
    fit(trainer, data)
    fit(trainer, Split(data.x, data.y + 100.0))
    assert computed == [22]
    assert trainer.history["loss"][0] > 1000


def test_features_that_do_not_fit_into_memory_are_mapped_from_files(backend, computed, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    expected = Trainer(frozen())
    fit(expected, epochs=3, validation=points(7, seed=1))
    monkeypatch.setattr(frozen_front, "memory", lambda: Memory(1000, 500))
    found = Trainer(frozen())
    fit(found, epochs=3, validation=points(7, seed=1))
    assert_same_weights(weights_of(found.model), weights_of(expected.model), tolerance=1e-6)
    folders = list((tmp_path / "features").iterdir())
    assert len(folders) == 1, "validation takes little memory"
    assert np.load(next(folders[0].glob("*.npy")), mmap_mode="r").shape == (22, 4)
    found.forget_features()
    assert not list((tmp_path / "features").iterdir())


def test_a_disk_without_room_is_told_before_anything_is_computed(backend, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(frozen_front, "memory", lambda: Memory(1000, 500))
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3})())

    def computes(*given):
        raise AssertionError("it computes")
        yield

    monkeypatch.setattr(frozen_front, "predicted_parts", computes)
    with pytest.raises(DataError, match=r"has room for 0\.0 GiB"):
        fit(Trainer(frozen()))
    assert not list((tmp_path / "features").iterdir())


@pytest.mark.parametrize("wanted", [None, False])
def test_a_stage_with_a_frozen_front_computes_it_once_unless_told_not_to(backend, computed, capsys, wanted):
    stages = [Stage(2, learning_rate=0.01), Stage(2, "first", learning_rate=0.01)]
    options = {"progress": "lines", "batch_size": 4}
    model = frozen()
    trainer = fit_stages(model, points(22), stages=stages, precompute_frozen=wanted, **options)
    assert computed == ([22] if wanted is None else [])
    plain = fit_stages(frozen(), points(22), stages=stages, precompute_frozen=False, **options)
    assert_same_weights(weights_of(trainer.model), weights_of(plain.model), tolerance=1e-5)
    said = capsys.readouterr().out
    assert said.count("once") == (1 if wanted is None else 0)


def test_images_of_bytes_on_another_scale_have_other_features(backend):
    """The step makes of bytes what the model takes, which may be 0 to 1 at one time and -1 to 1 at another."""
    model, found = prescaled(), []
    front, _ = cut(model)
    for value_range in ((0.0, 1.0), (-1.0, 1.0)):
        note(front, value_range=value_range)
        found.append(feature_store.key_of(front, "", points(4), 4, "")["layers"])
    assert found[0] != found[1]
