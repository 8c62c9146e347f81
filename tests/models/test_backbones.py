"""A transfer model on a backbone of KerasHub: what it takes, which features it gives, and that a run of it is kept."""

import shutil
import sys

import numpy as np
import pytest

import unidl
from unidl.errors import ModelError
from unidl.layer_paths import walk
from unidl.models import base_of, build_transfer, record_of, unfreeze

pytestmark = pytest.mark.usefixtures("backend")

TOKENS = {"vocabulary_size": 12, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8}
LENGTH = 6


@pytest.fixture(scope="module")
def hub():
    from unidl.hub import is_installed, keras_hub

    if not is_installed():
        pytest.skip("KerasHub, the extra 'hub', is not installed")
    return keras_hub()


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def given(model, x):
    """What a model gives. Compiled as one: on JAX, each operation of its own would compile."""
    return model.predict(x, verbose=0)


@pytest.fixture
def bert(hub):
    """A BERT of 1 layer and 8 units, with the dropout that BERT has."""
    return hub.models.BertBackbone(**TOKENS, max_sequence_length=LENGTH)


def texts(rows=8, segments=True):
    """Rows of 6 tokens, of which the last ones are padding."""
    tokens = np.random.default_rng(0).integers(4, 12, (rows, LENGTH)).astype("int32")
    mask = (np.arange(LENGTH) < 2 + np.arange(rows)[:, None] % 4).astype("int32")
    x = {"token_ids": tokens * mask, "padding_mask": mask}
    return x | ({"segment_ids": np.zeros_like(tokens)} if segments else {})


def test_a_bert_gives_what_it_pools_itself_and_its_dropout_is_left_out(hub, bert):
    """The features of a frozen base have to be the same in every epoch."""
    model = build_transfer(bert, classes=3, dense_units=None)
    assert {given.name for given in model.inputs} == {"token_ids", "segment_ids", "padding_mask"}
    assert not base_of(model).trainable_weights
    assert len(model.trainable_weights) == 2
    arguments = record_of(model).architecture.arguments
    assert arguments["pooling"] == "pooled"
    assert arguments["base"]["keras_hub"] == "BertBackbone"
    assert arguments["base"]["config"]["dropout"] == 0
    assert not [layer for _, layer in walk(base_of(model)) if getattr(layer, "rate", 0)]
    assert np.allclose(given(base_of(model), texts()), given(bert, texts())["pooled_output"], atol=1e-6)
    assert bert.trainable, "the backbone that was given stays as it was"


def test_a_run_on_a_bert_is_trained_saved_loaded_and_resumed(bert, tmp_path):
    """Who fine-tunes a BERT for a day loads it again, on any backend, without trusting anything but numbers."""
    data = unidl.Split(texts(), np.arange(8) % 2)
    options = {"batch_size": 4, "epochs": 2, "save_every_steps": 1, "progress": "quiet"}

    def made():
        model = build_transfer(bert, classes=2, dense_units=None)
        unfreeze(model, from_layer="transformer_layer_0")
        return unidl.Trainer(model)

    whole, resumed = made(), made()
    whole.fit(data, checkpoint=tmp_path / "kept", keep=9, **options)
    for newest in sorted((tmp_path / "kept").iterdir())[-2:]:
        shutil.rmtree(newest)  # as if it had been killed earlier
    resumed.fit(data, checkpoint=tmp_path / "kept", resume=True, **options)
    loaded = unidl.load_model(whole.save(tmp_path / "run"))
    expected = whole.predict(texts())
    assert np.array_equal(resumed.predict(texts()), expected)
    assert np.allclose(unidl.Trainer(loaded).predict(texts()), expected, atol=1e-6)
    assert len(loaded.trainable_weights) == len(whole.model.trainable_weights)


def test_the_frozen_part_is_computed_once(bert):
    data = unidl.Split(texts(), np.arange(8) % 2)
    trained = []
    for once in (False, True):
        trainer = unidl.Trainer(build_transfer(bert, classes=2, dense_units=None))
        trainer.fit(data, batch_size=4, epochs=2, precompute_frozen=once, progress="quiet")
        trained.append(numpy(trainer.model.get_layer("logits").kernel.value))
    assert np.allclose(*trained, atol=1e-5)


def test_low_rank_factors_learn_beside_frozen_kernels(bert, tmp_path):
    """Who adapts a BERT so gets a model that computes the same without the factors, and loads it on any backend."""
    import keras

    plain, adapted = (build_transfer(bert, classes=2, dense_units=None, lora_rank=rank) for rank in (None, 2))
    assert np.allclose(given(adapted, texts()), given(plain, texts()), atol=1e-6)
    assert len([weight for weight in adapted.trainable_weights if "lora" in weight.name]) > 4
    assert all("lora" in weight.name or "logits" in weight.path for weight in adapted.trainable_weights)
    kernels = [numpy(weight.value) for weight in base_of(plain).weights]
    trainer = unidl.Trainer(adapted, optimizer=keras.optimizers.Adam(0.05))
    trainer.fit(unidl.Split(texts(), np.arange(8) % 2), batch_size=4, epochs=2, progress="quiet")
    kept = [numpy(weight.value) for weight in base_of(adapted).weights if "lora" not in weight.name]
    assert all(np.array_equal(*pair) for pair in zip(kept, kernels, strict=True))
    learned = given(adapted, texts())
    assert not np.allclose(learned, given(plain, texts()), atol=1e-3)
    loaded = unidl.load_model(trainer.save(tmp_path / "run"))
    assert np.allclose(given(loaded, texts()), learned, atol=1e-5)
    merged = unidl.merge_lora(loaded)
    assert not any("lora" in weight.name for weight in merged.weights)
    assert np.allclose(given(merged, texts()), learned, atol=1e-5)


def test_a_saved_transfer_model_on_a_bert_is_a_base_again(bert, tmp_path):
    first = build_transfer(bert, classes=3)
    second = build_transfer(unidl.Trainer(first).save(tmp_path / "run"), classes=2)
    assert second.output_shape == (None, 2)
    assert np.allclose(given(base_of(second), texts()), given(base_of(first), texts()), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "own", "pooling"),
    [("RobertaBackbone", {"max_sequence_length": LENGTH}, "first"), ("GPT2Backbone", {}, "average")],
)
def test_other_backbones_are_pooled_as_suits_them(hub, kind, own, pooling):
    """Where each token sees only those before it, the first one knows nothing of a text."""
    backbone = getattr(hub.models, kind)(**TOKENS, **own)
    model = build_transfer(backbone, classes=2)
    assert record_of(model).architecture.arguments["pooling"] == pooling
    x = texts(segments=False)
    sequence, mask = given(backbone, x), x["padding_mask"][..., None]
    expected = sequence[:, 0] if pooling == "first" else (sequence * mask).sum(1) / mask.sum(1)
    assert np.allclose(given(base_of(model), x), expected, atol=1e-5)


def test_backbones_of_images(hub):
    residual = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64],
        "stackwise_num_blocks": [1],
        "stackwise_num_strides": [1],
        "block_type": "basic_block",
    }
    model = build_transfer(hub.models.ResNetBackbone(**residual), (8, 8, 3), classes=2, dense_units=None)
    arguments = record_of(model).architecture.arguments
    assert model.input_shape == (None, 8, 8, 3)
    assert (arguments["pooling"], arguments["base"]["config"]["image_shape"]) == ("average", [8, 8, 3])
    rebuilt = unidl.models.build(record_of(model).architecture)
    assert [weight.shape for weight in rebuilt.weights] == [weight.shape for weight in model.weights]
    assert all(np.isfinite(numpy(weight.value)).all() for weight in rebuilt.weights)
    vision = hub.models.ViTBackbone((8, 8, 3), 4, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=4)
    assert record_of(build_transfer(vision, classes=2)).architecture.arguments["pooling"] == "first"
    with pytest.raises(ModelError, match="leave input_shape out"):
        build_transfer(vision, (16, 16, 3), classes=2)


def test_a_preset_that_cannot_be_had_says_what_to_do(hub, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    with pytest.raises(
        ModelError, match=r"KerasHub has no preset of this name\. Closest names: 'bert_tiny_en_uncased'"
    ):
        build_transfer("bert_tiny_en_uncase", classes=2)
    monkeypatch.setattr(hub.models.Backbone, "from_preset", unreachable)
    with pytest.raises(ModelError, match="its files could not be downloaded: Name or service not known") as caught:
        build_transfer("bert_tiny_en_uncased", classes=2)
    assert "pass the path of their folder as base" in str(caught.value)


def test_a_preset_scales_images_as_it_was_trained(hub, monkeypatch):
    """Images are 0 to 1 for every base by name; a preset says which numbers its weights expect."""
    from unidl.models import backbones

    vision = hub.models.ViTBackbone((8, 8, 3), 4, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=4)
    found = backbones.Found(vision, scale=[0.01, 0.02, 0.03], offset=[-1.0, 0.0, 1.0])
    monkeypatch.setattr(backbones, "read", lambda *_, **__: found)
    model = build_transfer("vit_tiny_preset", classes=2)
    assert record_of(model).value_range == (0.0, 1.0)
    rebuilt = unidl.models.build(record_of(model).architecture)
    for one in (model, rebuilt):
        white = numpy(one.get_layer("preprocessing")(np.ones((1, 8, 8, 3), "float32")))
        assert np.allclose(white[0, 0, 0], [1.55, 5.1, 8.65])


def test_without_kerashub_the_error_names_the_extra(monkeypatch):
    from unidl.hub import keras_hub

    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"Install it with: pip install 'unidl\[hub\]'"):
        keras_hub()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "flatten"}, "for a backbone that reads tokens use 'first' or 'average'"),
        ({"pooling": "max"}, "it must be one of 'flatten', 'average', 'first', 'pooled'"),
        ({"input_shape": (8, 8, 3)}, "leave input_shape out"),
    ],
)
def test_an_impossible_argument_is_one_clear_error(bert, options, message):
    with pytest.raises(ModelError) as caught:
        build_transfer(bert, classes=2, **options)
    assert message in str(caught.value)


def test_a_record_cannot_name_anything_but_a_backbone(hub, bert):
    """A directory from the network must not call functions of its choice."""
    architecture = record_of(build_transfer(bert, classes=2)).architecture
    base = architecture.arguments["base"]
    for change in ({"keras_hub": "BertTokenizer"}, {"config": base["config"] | {"dtype": {"class_name": "X"}}}):
        record = unidl.models.Architecture("transfer", {**architecture.arguments, "base": base | change})
        with pytest.raises(ModelError, match=r"has no such backbone|must be numbers, words and lists"):
            unidl.models.build(record)
