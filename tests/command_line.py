"""The command line in this process, on small data, for the tests of the commands. What several tests look at is trained
once."""

from __future__ import annotations

import contextlib
import functools
import io
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from unidl.cli.main import main

SIDE = 18
"""The smallest images that the CNN of `unidl train` takes."""
SENTENCES = "the cat sees a dog, and the dog hears two cats. a cat hears the dog; two dogs see the cat! "


TEXT_OPTIONS = ("--epochs", "2", "--batch-size", "512")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str
    run_directory: Path | None = None


def unidl(*words: object) -> Answer:
    """Run a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Answer(code, out.getvalue(), err.getvalue())


@functools.cache
def place() -> Path:
    """A folder for this process."""
    return Path(_folder.name)


_folder = tempfile.TemporaryDirectory(prefix="unidl-tests-")


def pictures(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Images of uint8 with a bright quarter, and which quarter: one of three classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.integers(0, 60, size=(count, SIDE, SIDE, 1))
    for image, label in zip(images, labels, strict=True):
        top, left = divmod(int(label), 2)
        image[top * 9 : top * 9 + 9, left * 9 : left * 9 + 9] += 180
    return images.astype(np.uint8), labels


@functools.cache
def arrays_file() -> Path:
    """An .npz file of pictures with names for its classes."""
    x, y = pictures()
    np.savez(place() / "pictures.npz", x=x, y=y, class_names=np.array(["left", "right", "below"]))
    return place() / "pictures.npz"


@functools.cache
def image_folder() -> Path:
    """A folder of class folders with PNG files in colour, larger than the pictures."""
    x, y = pictures(30)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = place() / "folder" / ("left", "right", "below")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).convert("RGB").resize((40, 30)).save(folder / f"{number}.png")
    return place() / "folder"


@functools.cache
def text_file() -> Path:
    """A text of few words, long enough for 20 words of context in its last tenth."""
    path = place() / "text.txt"
    path.write_text(SENTENCES * 14)
    return path


@functools.cache
def cnn_run() -> Answer:
    """A CNN trained on the pictures, with most options and as JSON."""
    out = place() / "runs" / "cnn"
    options = "--epochs 2 --batch-size 16 --learning-rate 0.01 --schedule constant --clip-norm 1 --accumulate 2"
    options += " --dropout 0.1 --seed 3 --plot --json"
    answer = unidl("train", "cnn", "--data", arrays_file(), *shlex.split(options), "--out", out)
    return Answer(answer.code, answer.out, answer.err, out)


@functools.cache
def text_run() -> Answer:
    """An LSTM trained on the text, all of it in one batch: JAX compiles each size of a batch anew."""
    out = place() / "runs" / "text"
    with contextlib.chdir(place()):
        answer = unidl("train", "lstm", "--data", text_file().name, *TEXT_OPTIONS, "--out", "runs/text")
    return Answer(answer.code, answer.out, answer.err, out)
