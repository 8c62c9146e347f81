"""`load_model` brings back what `Trainer.save` wrote. Without this a trained model is gone, or not quite the same."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from saving import IMAGES, TOKENS, assert_same_model, outputs, saved_and_loaded, scramble

from unidl import Trainer, build_cnn, build_lstm, build_transfer, load_model, unfreeze
from unidl.models import base_of, note, record_of
from unidl.saving.directories import read_directory


def cnn(**options):
    return build_cnn((8, 8, 1), 3, **{"filters": (2, 2), "dense_units": 4} | options)


def lstm(**options):
    return build_lstm(**{"vocabulary_size": 12, "sequence_length": 4, "units": 4, "embedding_size": 3} | options)


def series(**options):
    return build_lstm(sequence_length=4, units=4, features=2, **options)


RUN = {
    "cnn": (cnn, {}, IMAGES),
    "cnn in mixed_bfloat16": (cnn, {"precision": "mixed_bfloat16", "batch_normalization": True}, IMAGES),
    "bidirectional gru": (lstm, {"cell": "gru", "bidirectional": True}, TOKENS),
}
COMPARED = {
    "lstm of two layers": (lstm, {"layers": 2, "dropout": 0.3}),
    "classes of a series": (series, {"classes": 3}),
    "cnn with everything": (cnn, {"batch_normalization": True, "dropout": 0.5, "kernel_size": 2, "name": "mine"}),
    "cnn in mixed_float16": (cnn, {"precision": "mixed_float16"}),
    "lstm with an output for each step": (lstm, {"output": "steps", "mask_padding": True}),
    "lstm of any length": (lstm, {"sequence_length": None}),
    "lstm in mixed_bfloat16": (lstm, {"precision": "mixed_bfloat16"}),
    "numbers for each step of a series": (series, {"targets": 2, "output": "steps", "cell": "gru"}),
}


@pytest.mark.parametrize("case", RUN)
def test_a_model_gives_the_same_bits_after_loading(tmp_path, case: str):
    builder, options, x = RUN[case]
    model = scramble(builder(**options))
    Trainer(model).save(tmp_path / "run")
    assert_same_model(load_model(tmp_path / "run"), model, x)


@pytest.mark.parametrize("case", RUN | COMPARED)
def test_a_model_of_each_kind_comes_back_as_it_was(tmp_path, case: str):
    """Every layer with every argument, every weight with every bit."""
    builder, options, *_ = (RUN | COMPARED)[case]
    model = scramble(builder(**options))
    loaded = saved_and_loaded(model, tmp_path / "run")
    assert_same_model(loaded, model)
    assert configuration(loaded) == configuration(model)


def configuration(model) -> str:
    """Keras's description, without the numbers of the layers that Keras itself adds for masks."""
    return re.sub(r'(not_equal)_\d+"', r'\1"', json.dumps(model.get_config()))


def test_the_comparison_finds_a_wrong_model(tmp_path):
    """A helper that accepts anything would prove nothing."""
    model = scramble(cnn())
    other = saved_and_loaded(model, tmp_path / "run")
    assert_same_model(other, model, IMAGES)
    other.layers[-2].trainable = False
    with pytest.raises(AssertionError):
        assert_same_model(other, model, IMAGES)
    other.layers[-2].trainable = True
    other.weights[0].assign(other.weights[0].value * 1.0001)
    with pytest.raises(AssertionError):
        assert_same_model(other, model, IMAGES)


def test_words_of_every_kind_survive(tmp_path):
    """And the names of classes: `unidl predict` says them, `unidl generate` writes them."""
    words = ("<pad>", "<unk>", "don't", "ä", "日本", '"', "\\", "\n", "\x00", "🙂", "a" * 500, "")
    model = lstm()
    note(model, vocabulary=words, class_names=words[2:])
    loaded = record_of(saved_and_loaded(model, tmp_path / "run"))
    assert loaded.vocabulary == words
    assert loaded.class_names == words[2:]


def transfer_on(base, **options):
    return build_transfer(base, classes=3, dense_units=4, weights=None, **options)


def test_a_transfer_model_on_a_model_of_ours_needs_nothing_but_its_own_directory(tmp_path):
    base = scramble(cnn(batch_normalization=True))
    from_model = scramble(transfer_on(base))
    assert_same_model(saved_and_loaded(from_model, tmp_path / "from model"), from_model, IMAGES)

    Trainer(base).save(tmp_path / "base")
    from_directory = scramble(transfer_on(str(tmp_path / "base"), dropout=0.2))
    Trainer(from_directory).save(tmp_path / "run")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert_same_model(load_model(tmp_path / "run"), from_directory, IMAGES)


def test_a_transfer_model_on_a_transfer_model(tmp_path):
    model = scramble(transfer_on(transfer_on(cnn())))
    assert_same_model(saved_and_loaded(model, tmp_path / "run"), model, IMAGES)


def test_a_transfer_model_on_a_custom_model_comes_back_by_keras_own_description(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(2, 3, data_format="channels_last")(inputs)
    model = scramble(transfer_on(keras.Model(inputs, features, name="theirs")))
    assert record_of(model).architecture is None
    assert_same_model(saved_and_loaded(model, tmp_path / "run", trust=True), model, IMAGES)


def test_a_partly_unfrozen_network_of_keras_applications_comes_back_without_a_download(tmp_path):
    """The file says which layers learn: trained on after loading, the wrong ones would be destroyed."""
    model = scramble(build_transfer("VGG16", (32, 32, 3), 3, weights=None, dense_units=4))
    frozen = len(model.non_trainable_weights)
    unfreeze(model, from_layer="block5_conv2")
    assert 0 < len(model.non_trainable_weights) < frozen
    assert_same_model(saved_and_loaded(model, tmp_path / "run"), model)


def test_a_network_that_normalizes_its_images_comes_back_as_it_was(tmp_path):
    """Keras's Normalization computes with constants that it makes of its weights; and the inputs of EfficientNet have
    other names each time it is built."""
    import keras

    model = build_transfer("EfficientNetB0", (32, 32, 3), 3, weights=None, dense_units=4)

    def normalization(model):
        return next(layer for layer in base_of(model).layers if isinstance(layer, keras.layers.Normalization))

    scramble(model)
    normalization(model).finalize_state()
    loaded = saved_and_loaded(model, tmp_path / "run")
    assert_same_model(loaded, model)
    for name in ("mean", "variance"):
        one, other = (keras.ops.convert_to_numpy(getattr(normalization(m), name)) for m in (loaded, model))
        np.testing.assert_array_equal(one, other)
        assert 0.1 < one.min() < one.max() < 0.9


def test_a_directory_is_read_once_and_the_model_needs_it_no_longer(tmp_path):
    """A loaded model must not change when somebody trains into its directory again."""
    first, second = scramble(cnn()), cnn(seed=1)
    Trainer(first).save(tmp_path / "run")
    loaded = load_model(str(tmp_path / "run"))
    before = outputs(loaded, IMAGES)
    Trainer(second).save(tmp_path / "run")
    np.testing.assert_array_equal(outputs(loaded, IMAGES), before)
    assert_same_model(load_model(tmp_path / "run"), second, IMAGES)


def test_what_is_saved_is_json_and_safetensors_and_no_code(tmp_path):
    """A person can read what a model is; and nothing in the directory can run."""
    Trainer(cnn()).save(tmp_path / "run")
    files = read_directory(tmp_path / "run")
    assert set(files) == {"architecture.json", "weights.safetensors", "run.json", "history.csv"}
    description = json.loads(files["architecture.json"])
    assert description["builder"] == "cnn"
    assert description["arguments"]["filters"] == [2, 2]


def test_a_model_built_for_a_gpus_tf32_loads_where_there_is_none(tmp_path, caplog):
    """Trained on a GPU, used on a laptop: the weights are float32 in both."""
    from unidl import devices

    if devices.resolve().device.kind == "gpu":
        pytest.skip("this device may compute in TF32; the case is one that cannot")
    from saving import rewrite, save

    model = scramble(cnn())
    path = save(model, tmp_path / "run")
    description = json.loads(read_directory(path)["architecture.json"])
    description["arguments"]["precision"] = "tf32"
    rewrite(path, architecture=json.dumps(description).encode())
    with caplog.at_level("INFO", logger="unidl"):
        loaded = load_model(path)
    assert "was built in 'tf32' and is loaded in 'float32'" in caplog.text
    np.testing.assert_array_equal(outputs(loaded, IMAGES), outputs(model, IMAGES))
    Trainer(loaded).save(path)
