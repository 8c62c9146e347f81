"""What a transfer model predicts: a class, labels, numbers, or several of these; trained, saved, loaded and resumed."""

import shutil

import numpy as np
import pytest

import unidl
from unidl.errors import ModelError
from unidl.layer_paths import named_weights
from unidl.models import build_cnn, build_transfer, merge_lora, record_of, unfreeze

pytestmark = pytest.mark.usefixtures("backend")

ROWS = 8
IMAGES = np.random.default_rng(0).random((ROWS, 8, 8, 1), dtype=np.float32)
TARGETS = {
    "labels": np.random.default_rng(1).integers(0, 2, (ROWS, 3)).astype("float32"),
    "targets": np.random.default_rng(2).random((ROWS, 2), dtype=np.float32),
    "heads": {"colour": np.arange(ROWS) % 3, "size": np.linspace(0, 1, ROWS, dtype=np.float32)[:, None]},
}
SIZES = {"labels": 3, "targets": 2, "heads": {"colour": 3, "size": 1}}


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.fixture(scope="module")
def cnn():
    return build_cnn((8, 8, 1), classes=4, filters=(2, 3), kernel_size=2, dense_units=4, seed=3)


def close(one, other, **tolerance):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name], **tolerance) for name in one)
    return np.allclose(one, other, **tolerance)


@pytest.mark.parametrize("kind", SIZES)
def test_every_kind_of_output_is_trained_saved_loaded_and_resumed(cnn, kind, tmp_path):
    data = unidl.Split(IMAGES, TARGETS[kind])
    options = {
        "batch_size": 4,
        "epochs": 2,
        "save_every_steps": 1,
        "progress": "quiet",
        "checkpoint": tmp_path / "kept",
    }
    whole, resumed = (unidl.Trainer(build_transfer(cnn, dense_units=None, **{kind: SIZES[kind]})) for _ in range(2))
    whole.fit(data, keep=9, **options)
    expected = whole.predict(IMAGES)
    assert whole.history["loss"][-1] < whole.history["loss"][0]
    loaded = unidl.load_model(whole.save(tmp_path / "run"))
    assert close(unidl.Trainer(loaded).predict(IMAGES), expected, atol=1e-6)
    if kind == "heads":
        forget_the_newest(tmp_path / "kept")
        resumed.fit(data, resume=True, **options)
        assert close(resumed.predict(IMAGES), expected, rtol=0, atol=0)


def forget_the_newest(checkpoints):
    """As if the run had been killed earlier."""
    for newest in sorted(checkpoints.iterdir())[-2:]:
        shutil.rmtree(newest)


def test_each_kind_has_the_loss_that_suits_it(cnn):
    """A wrong loss trains to a wrong model without a word; by hand: the crossentropies and squares of the outputs."""
    found = {}
    for kind, size in SIZES.items():
        trainer = unidl.Trainer(build_transfer(cnn, dense_units=None, **{kind: size}))
        found[kind] = (trainer.predict(IMAGES), trainer.evaluate(IMAGES, TARGETS[kind]))
    p, results = found["labels"]
    y = TARGETS["labels"]
    assert results["loss"] == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), rel=1e-4)
    assert results["binary_accuracy"] == pytest.approx(np.mean((p > 0.5) == y))
    p, results = found["targets"]
    assert results["loss"] == pytest.approx(np.mean((p - TARGETS["targets"]) ** 2), rel=1e-4)
    p, results = found["heads"]
    y = TARGETS["heads"]
    crossentropy = -np.mean(np.log(p["colour"][np.arange(ROWS), y["colour"]]))
    assert results["loss"] == pytest.approx(crossentropy + np.mean((p["size"] - y["size"]) ** 2), rel=1e-4)


def test_a_model_with_other_outputs_is_a_base_again(cnn):
    several = build_transfer(cnn, heads={"colour": 3, "size": 1})
    again = build_transfer(several, classes=5)
    assert again.output_shape == (None, 5)
    rebuilt = unidl.models.build(record_of(again).architecture)
    assert [weight.shape for weight in rebuilt.weights] == [weight.shape for weight in again.weights]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 2, "labels": 3}, "classes and labels are given, and a model has one kind of output"),
        ({"labels": 0}, "a whole number of at least 1"),
        ({"targets": 1.5}, "a whole number of at least 1"),
        ({"heads": {}}, "a dict from the name of each head to its number of classes, or to 1 for a number"),
        ({"heads": {"a/b": 2}}, "a name such as 'colour' is letters, digits and '_'"),
        ({"heads": {"colour": 0}}, "heads['colour']=0): it must be a whole number of at least 1"),
        ({"heads": {"dense": 2}}, "the model has a layer of the name 'dense'"),
        ({"lora_rank": 0}, "a whole number of at least 1"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(cnn, options, message):
    with pytest.raises(ModelError) as caught:
        build_transfer(cnn, **options)
    assert message in str(caught.value)
    assert "Cannot use build_transfer" in str(caught.value)


def test_only_the_factors_and_the_head_learn_and_nothing_changes_at_first(cnn):
    """The point of low-rank adaptation: a run is small, and begins from what the base knows."""
    plain, adapted = (build_transfer(cnn, classes=2, dense_units=None, lora_rank=rank) for rank in (None, 2))
    names = [weight.name for weight in adapted.trainable_weights]
    assert names == ["lora_kernel_a", "lora_kernel_b"] * 2 + ["kernel", "bias"]
    assert np.allclose(adapted.predict(IMAGES, verbose=0), plain.predict(IMAGES, verbose=0), atol=1e-6)
    unfreeze(adapted, from_layer="conv_2")
    assert [weight.name for weight in adapted.trainable_weights] == names[2:]


def test_a_run_with_factors_is_trained_saved_loaded_resumed_and_merged(cnn, tmp_path):
    data = unidl.Split(IMAGES, np.arange(ROWS) % 2)
    options = {
        "batch_size": 4,
        "epochs": 2,
        "save_every_steps": 1,
        "progress": "quiet",
        "checkpoint": tmp_path / "kept",
    }

    def made():
        return unidl.Trainer(build_transfer(cnn, classes=2, dense_units=None, lora_rank=2), optimizer="adam")

    whole, resumed = made(), made()
    before = {path: numpy(weight.value).copy() for path, weight in named_weights(whole.model).items()}
    whole.fit(data, keep=9, **options)
    forget_the_newest(tmp_path / "kept")
    resumed.fit(data, resume=True, **options)
    expected = whole.predict(IMAGES)
    assert np.array_equal(resumed.predict(IMAGES), expected)
    for path, weight in named_weights(whole.model).items():
        learns = "lora_" in path or path.startswith("logits/")
        assert np.array_equal(numpy(weight.value), before[path]) != learns, path
    loaded = unidl.load_model(whole.save(tmp_path / "run"))
    assert [weight.name for weight in loaded.trainable_weights] == [
        weight.name for weight in whole.model.trainable_weights
    ]
    assert np.allclose(unidl.Trainer(loaded).predict(IMAGES), expected, atol=1e-6)
    merged = merge_lora(loaded)
    assert not any("lora" in weight.name for weight in merged.weights)
    assert np.allclose(unidl.Trainer(merged).predict(IMAGES), expected, atol=1e-5)


def test_factors_need_a_base_of_unidls_own_and_one_that_has_kernels(cnn):
    import keras

    inputs = keras.Input((4,))
    foreign = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ModelError, match="is shared as it is; call enable_lora of its layers yourself"):
        build_transfer(foreign, classes=2, lora_rank=1)
    with pytest.raises(ModelError, match=r"build_transfer\(lora_rank=...\) did not build it"):
        merge_lora(build_transfer(cnn, classes=2))


def test_heads_whose_layers_would_have_one_name_are_refused(cnn):
    with pytest.raises(ModelError, match="a layer of the name 'size_logits'; choose another"):
        build_transfer(cnn, heads={"size": 3, "size_logits": 1})
