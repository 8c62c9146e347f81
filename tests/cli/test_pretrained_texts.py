"""A classifier of sentences from the command line, on a BERT in a folder in the format of Hugging Face."""

import json

import pytest
from command_line import unidl
from hugging_face import bert_folder, sentences

from unidl.hub import is_installed

pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.skipif(not is_installed(), reason="KerasHub, the extra 'hub', is not installed"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the folders of its base and its sentences."""
    place = tmp_path_factory.mktemp("texts")
    bert_folder(place / "bert")
    sentences(place / "said", rows=10)
    options = ("--stages", "head:1,all:20@0.01", "--batch-size", 8, "--out", place / "run", "--quiet")
    answer = unidl("train", "transfer", "--base", place / "bert", "--data", place / "said", *options)
    assert answer.code == 0, answer.err
    return place


def test_a_sentence_is_classified_with_the_tokenizer_of_the_run(trained):
    """Neither the folder of the base nor its vocabulary is needed any longer."""
    (trained / "bert" / "vocab.txt").rename(trained / "bert" / "gone.txt")
    try:
        answer = unidl("predict", trained / "run", "The cat sleeps softly", "the DOG barks loud!", "--json")
    finally:
        (trained / "bert" / "gone.txt").rename(trained / "bert" / "vocab.txt")
    assert answer.code == 0, answer.err
    assert [row["classes"][0]["name"] for row in json.loads(answer.out)] == ["calm", "loud"]


def test_a_long_text_is_read_whole(trained):
    answer = unidl("predict", trained / "run", "the cat sleeps softly " * 20, "--json")
    assert json.loads(answer.out)[0]["classes"][0]["name"] == "calm"


def test_a_run_is_evaluated_with_its_tokenizer(trained):
    answer = unidl("evaluate", trained / "run", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["rows"] == 4


def test_a_trained_run_is_a_base_again(trained, tmp_path):
    options = ("--epochs", 1, "--out", tmp_path / "again", "--quiet")
    answer = unidl("train", "transfer", "--base", trained / "run", "--data", trained / "said", *options)
    assert answer.code == 0, answer.err


def test_what_does_not_fit_texts_is_one_clear_error(trained, tmp_path):
    given = ("train", "transfer", "--base", trained / "bert", "--out", tmp_path / "run")
    answer = unidl(*given, "--data", trained / "said", "--image-size", 8)
    assert (answer.code, "reads texts. Leave it out" in answer.err) == (2, True)
    answer = unidl(*given, "--data", "digits")
    assert answer.code != 0
    assert "tokenizer does not apply to 'digits'" in answer.err


def test_the_same_sentences_train_a_classifier_of_words(trained, tmp_path):
    """Without a pretrained model, texts in class folders are words that are counted."""
    options = ("--epochs", 1, "--out", tmp_path / "words", "--quiet")
    answer = unidl("train", "text-classifier", "--data", trained / "said", *options)
    assert answer.code == 0, answer.err
    answer = unidl("predict", tmp_path / "words", "the cat sleeps", "--json")
    assert answer.code == 0, answer.err
