"""`unidl generate` writes word by word. Without this a person waits in front of an empty line, or cannot script it."""

from __future__ import annotations

import io
import json
import sys

import pytest
from command_line import cnn_run, text_run, unidl
from saving import save

from unidl import generate_text, generation, load_model
from unidl.data.text import tokenize
from unidl.models import note


def test_the_prompt_and_so_many_words_are_written_as_python_would():
    run = text_run().run_directory
    words = ["--prompt", "The cat", "--words", 12, "--temperature", 0.8, "--top-k", 5, "--top-p", 0.9, "--seed", 4]
    answer = unidl("generate", run, *words)
    assert answer.code == 0, answer.err
    options = {"words": 12, "temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": 4}
    assert answer.out == generate_text(load_model(run), "The cat", **options) + "\n"
    assert len(tokenize(answer.out)) == 14


def test_json_is_one_object():
    answer = unidl("generate", text_run().run_directory, "--prompt", "The cat", "--words", 3, "--json", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    said = json.loads(answer.out)
    assert said["prompt"] == "The cat"
    assert said["text"].startswith("the cat")
    assert len(tokenize(said["text"])) == 5


class Watched(io.StringIO):
    """A stdout that notes what had been written at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def test_each_word_is_shown_as_soon_as_it_is_there(monkeypatch):
    from unidl.cli.main import main

    out = Watched()
    monkeypatch.setattr(sys, "stdout", out)
    run = text_run().run_directory
    assert main(["generate", str(run), "--prompt", "the cat", "--words", "3", "--temperature", "0"]) == 0
    assert len(set(out.seen)) == 5  # the prompt, each word, the end of the line
    assert all(later.startswith(earlier) for earlier, later in zip(out.seen, out.seen[1:], strict=False))


def test_control_c_ends_the_line(monkeypatch):
    """What the shell writes next must not stand behind the last word."""

    def pieces(*_, **__):
        yield "the"
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "stream_text", pieces)
    answer = unidl("generate", text_run().run_directory, "--prompt", "the")
    assert (answer.code, answer.out) == (130, "the\n")
    assert answer.err.endswith("unidl: interrupted\n")


def test_a_custom_language_model_writes(tmp_path):
    """Saved from Python with the words it was trained on; its loss is not saved, and none is needed."""
    import keras

    words = ("<pad>", "<unk>", "cat", "dog")
    layers = [keras.layers.Embedding(4, 2), keras.layers.GRU(2), keras.layers.Dense(4, activation="softmax")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    note(model, vocabulary=words)
    save(model, tmp_path / "run")
    answer = unidl("generate", tmp_path / "run", "--prompt", "the cat", "--words", 2, "--trust")
    assert answer.code == 0, answer.err
    assert set(tokenize(answer.out)[2:]) <= {"cat", "dog"}


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--prompt", " "], 2, "it contains no words"),
        (["--prompt", "a", "--words", "-1"], 2, "'-1' is not a whole number of at least 0"),
        (["--prompt", "a", "--temperature", "-1"], 2, "'-1' is not a number of at least 0"),
        (["--prompt", "a", "--temperature", "inf"], 2, "'inf' is not a number of at least 0"),
        (["--prompt", "a", "--top-k", "0"], 2, "'0' is not a whole number of at least 1"),
        (["--prompt", "a", "--top-p", "0"], 2, "'0' is not a number above 0 and up to 1"),
        (["--prompt", "a", "--top-p", "1.5"], 2, "'1.5' is not a number above 0 and up to 1"),
        (["--prompt", "a", "--seed", "x"], 2, "'x'"),
        ([], 2, "--prompt"),
    ],
)
def test_a_mistake_is_one_error_with_its_code(words, code: int, reason: str):
    answer = unidl("generate", text_run().run_directory, *words)
    assert (answer.code, answer.out.strip()) == (code, "")
    assert reason in answer.err


def test_a_model_that_knows_no_words_says_so():
    answer = unidl("generate", cnn_run().run_directory, "--prompt", "the cat")
    assert (answer.code, answer.out) == (7, "")
    assert "has no vocabulary" in answer.err


def test_a_missing_run_is_exit_code_8(tmp_path):
    assert unidl("generate", tmp_path / "nothing", "--prompt", "the cat").code == 8
