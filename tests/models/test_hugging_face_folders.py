"""A model in a folder in the format of Hugging Face: the same numbers as there, and the same ids of its texts."""

import json

import numpy as np
import pytest
from hugging_face import VOCABULARY, bert_folder, pooled, sentences

import unidl
from unidl.errors import DataError, ModelError, SavedModelError
from unidl.hub import is_installed
from unidl.models import base_of, build_transfer, record_of

pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.skipif(not is_installed(), reason="KerasHub, the extra 'hub', is not installed"),
]


def number(*pieces):
    return [VOCABULARY.index(piece) for piece in pieces]


def test_its_features_are_those_of_its_weights_computed_by_hand(tmp_path):
    tensors = bert_folder(tmp_path / "bert")
    model = build_transfer(tmp_path / "bert", classes=2, dense_units=None)
    tokenizer = record_of(model).tokenizer
    x = tokenizer.of_length(8).rows(tokenizer.ids(["The cat sleeps.", "a DOG"]))
    assert x["token_ids"][0].tolist() == [*number("[CLS]", "the", "cat", "sleep", "##s", ".", "[SEP]"), 0]
    expected = pooled(tensors, x["token_ids"], x["padding_mask"])
    assert np.allclose(base_of(model).predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("fast", [False, True])
def test_ids_are_those_of_hugging_face(tmp_path, fast):
    """Ids other than those of the training make a good model guess. Accents go as in BERT, which KerasHub keeps."""
    from tokenizers import BertWordPieceTokenizer

    bert_folder(tmp_path, fast=fast)
    tokenizer = record_of(build_transfer(str(tmp_path), classes=2)).tokenizer
    theirs = BertWordPieceTokenizer({piece: place for place, piece in enumerate(VOCABULARY)}, lowercase=True)
    said = ["A Café!", "cats sleep softly.", "x", "the 猫 dog", "loud\tloudly a", ""]
    assert tokenizer.ids(said)[:5] == [theirs.encode(text, add_special_tokens=False).ids for text in said][:5]
    assert tokenizer.ids(said)[5] == []


def test_a_classifier_of_sentences_is_trained_saved_and_loaded_with_its_tokenizer(tmp_path):
    bert_folder(tmp_path / "bert")
    model = build_transfer(tmp_path / "bert", classes=2, dense_units=None)
    data = unidl.load_data(sentences(tmp_path / "said"), tokenizer=record_of(model).tokenizer)
    assert data.class_names == ("calm", "loud")
    assert data.train.x["token_ids"].shape == (10, 16)
    trainer = unidl.Trainer(model)
    trainer.fit(data.train, epochs=2, batch_size=5, progress="quiet")
    loaded = unidl.load_model(trainer.save(tmp_path / "run"))
    tokenizer = record_of(loaded).tokenizer
    assert tokenizer == data.train.tokenizer
    rows = tokenizer.rows(tokenizer.ids(["the cat sleeps", "loud dog"]))
    assert np.allclose(unidl.Trainer(loaded).predict(rows), trainer.predict(rows), atol=1e-6)


def test_a_folder_that_cannot_be_read_is_one_clear_error(tmp_path):
    tensors = bert_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="KerasHub cannot read this folder"):
        build_transfer(tmp_path, classes=2)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "unheard of"}))
    with pytest.raises(ModelError, match="no converter for huggingface/transformers models"):
        build_transfer(tmp_path, classes=2)
    (tmp_path / "config.json").write_text(json.dumps({"module": "os", "class_name": "system", "config": {}}))
    with pytest.raises(ModelError, match=r"its config.json names a class of 'os'"):
        build_transfer(tmp_path, classes=2)
    assert tensors


def test_a_folder_without_a_tokenizer_says_so_and_takes_ids(tmp_path, caplog):
    bert_folder(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with caplog.at_level("INFO", logger="unidl"):
        model = build_transfer(tmp_path, classes=2)
    assert record_of(model).tokenizer is None
    assert "its tokenizer cannot be used" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Pickle"}, "of the kind WordPieceTokenizer or BytePairTokenizer"),
        ({"vocabulary": [1, 2]}, "must be a list of strings"),
        ({"start": 99}, "start must be one of the 18 ids"),
        ({"sequence_length": 2}, "sequence_length must be above 2"),
        ({"settings": {"vocabulary": "/etc/passwd"}}, "of the kind"),
        ({"kind": "BytePairTokenizer", "settings": {"merges": "/etc/passwd"}}, "The setting merges of a tokenizer"),
    ],
)
def test_a_damaged_tokenizer_is_refused(tmp_path, change, message):
    """A directory from the network can hold anything."""
    bert_folder(tmp_path / "bert")
    run = unidl.Trainer(build_transfer(tmp_path / "bert", classes=2)).save(tmp_path / "run")
    from unidl.saving.manifest import MANIFEST, manifest_of

    described = json.loads((run / "architecture.json").read_text())
    described["tokenizer"] |= change
    (run / "architecture.json").write_text(json.dumps(described))
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.name != MANIFEST}
    (run / MANIFEST).write_bytes(manifest_of(files))
    with pytest.raises(SavedModelError, match=message):
        unidl.load_model(run)


def test_byte_pairs_are_kept_as_well(tmp_path):
    """The tokenizer of RoBERTa and GPT-2."""
    from unidl.data.tokenizer import Tokenizer
    from unidl.hub import keras_hub

    pieces = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "Ġ": 5, "f": 6, "o": 7, "x": 8, "Ġf": 9, "ox": 10}
    theirs = keras_hub().models.RobertaTokenizer(vocabulary=pieces, merges=["Ġ f", "o x"])
    kept = Tokenizer.of(theirs, ("token_ids", "padding_mask"), 8)
    again = Tokenizer.from_json(json.loads(json.dumps(kept.to_json())))
    assert again == kept
    assert again.ids(["a fox", "</s>a"]) == [[int(one) for one in row] for row in theirs(["a fox", "</s>a"])]
    row = again.rows(again.ids(["a fox"]))
    assert row["token_ids"].tolist() == [[0, 4, 9, 10, 2, 1, 1, 1]]
    assert sorted(row) == ["padding_mask", "token_ids"]


def test_texts_too_long_for_the_model_are_refused(tmp_path):
    bert_folder(tmp_path / "bert")
    tokenizer = record_of(build_transfer(tmp_path / "bert", classes=2)).tokenizer
    with pytest.raises(DataError, match="sequence_length must be at most 16 for this model, not 99"):
        unidl.load_data(sentences(tmp_path / "said"), tokenizer=tokenizer, sequence_length=99)
