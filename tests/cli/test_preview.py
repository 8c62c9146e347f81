"""`unidl preview` and `--augment`. Without this a person would find out after a training what its images were like."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import arrays_file, image_folder, text_file, unidl
from PIL import Image

from unidl import load_model
from unidl.data import image_sets
from unidl.models import record_of
from unidl.training.run_directory import read_run

pytestmark = pytest.mark.usefixtures("backend")


def test_a_sheet_has_a_row_for_each_image_and_a_column_for_each_change(tmp_path, monkeypatch):
    out = tmp_path / "sheets" / "sheet.png"
    words = ("--augment", "flip,rotation=0.2,brightness=0.2", "--rows", 3, "--columns", 4, "--out", out)
    answer = unidl("preview", "--data", image_folder(), *words)
    assert answer.code == 0, answer.err
    assert answer.out == f"kept in {out}: 3 images, each in 4 changes\n"
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet, int)
    height, width = 90, 120  # of 30 x 40, three times as large
    tops = [32 + row * (height + 8) for row in range(3)]
    left = pixels.shape[1] - 5 * (width + 8)
    cells = [
        [pixels[top : top + height, left + column * (width + 8) :][:, :width] for column in range(5)] for top in tops
    ]
    for row in cells:
        assert all(np.abs(row[0] - other).mean() > 1 for other in row[1:]), "every change differs from the original"
        assert np.abs(row[1] - row[2]).mean() > 1
    with Image.open(next((image_folder() / "below").iterdir())) as first:
        assert first.size == (40, 30)
    again = tmp_path / "again.png"
    assert unidl("preview", "--data", image_folder(), *words[:-1], again).code == 0
    assert again.read_bytes() == out.read_bytes(), "the seed decides"
    monkeypatch.setattr(image_sets, "MOST_BYTES", 0)
    assert unidl("preview", "--data", image_folder(), *words[:-1], again).code == 0
    assert again.read_bytes() == out.read_bytes(), "a large folder, which is not read whole, looks the same"


def test_the_changes_are_those_of_the_first_steps_of_training():
    import keras

    from unidl.cli.preview import _changed
    from unidl.layers import Augmentation

    images = np.random.default_rng(0).random((2, 4, 3, 1), np.float32)
    found, _ = _changed(images, 3, Augmentation("brightness=0.2", seed=3), None)
    layer = Augmentation("brightness=0.2", seed=3)
    for one in found:
        expected = keras.ops.convert_to_numpy(layer(images, training=True))
        np.testing.assert_allclose(one, expected, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_mixed_rows_are_shown_with_the_share_of_their_labels(tmp_path):
    out = tmp_path / "mixed.png"
    answer = unidl("preview", "--data", image_folder(), "--mixup", 1.0, "--rows", 3, "--columns", 2, "--out", out)
    assert answer.code == 0, answer.err
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet, int)
    left = pixels.shape[1] - 3 * 128  # cells of 90 x 120 with margins of 8
    cells = [[pixels[32 + 98 * row :, left + 128 * column :][:90, :120] for column in range(3)] for row in range(3)]
    assert np.abs(cells[0][0] - cells[0][1]).mean() > 1
    np.testing.assert_array_equal(cells[1][0], cells[1][1], "the middle row is mixed with itself")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--augment", "flop"), 2, "unidl: Cannot augment with 'flop'. There are blur, brightness"),
        (("--augment", "flip", "--data", text_file), 6, "it holds no images"),
        ((), 2, "There is nothing to preview. Pass --augment, --mixup or --cutmix."),
        (("--mixup", "1000"), 2, "Cannot use Mixup(alpha=1000.0): it must be a number from 0.01 to 100"),
    ],
)
def test_what_cannot_be_shown_is_said(words, code: int, said: str):
    answer = unidl("preview", *(word() if callable(word) else word for word in words))
    assert answer.code == code
    assert said in answer.err


def test_a_run_trains_on_augmented_images_and_keeps_how(tmp_path):
    out = tmp_path / "run"
    words = ("--data", arrays_file(), "--epochs", 1, "--batch-size", 16, "--out", out, "--quiet")
    mixed = ("--mixup", 0.2, "--cutmix", 1.0)
    answer = unidl("train", "cnn", *words, "--augment", "rotation=0.05,zoom=0.1", *mixed)
    assert answer.code == 0, answer.err
    configuration = read_run(out)["configuration"]
    assert (configuration["mixup"], configuration["cutmix"]) == (0.2, 1.0)
    assert configuration["augment"] == "rotation=0.05,zoom=0.1"
    model = load_model(out)
    assert record_of(model).architecture.arguments["augment"] == "rotation=0.05,zoom=0.1"
    assert [step.word for step in model.get_layer("augmentation").steps] == ["rotation", "zoom"]
    assert unidl("evaluate", out, "--data", arrays_file(), "--augmentations", 2).code == 0
    answer = unidl("predict", out, next((image_folder() / "left").iterdir()), "--augmentations", 3)
    assert answer.code == 0, answer.err
    onto = unidl("train", "transfer", "--base", out, *words[:-2], tmp_path / "onto", "--quiet", "--augment", "flip")
    assert onto.code == 0, onto.err
    (layer,) = [layer for layer in load_model(tmp_path / "onto").layers if layer.name == "augmentation"]
    assert layer.steps[0].word == "flip"


@pytest.mark.parametrize(
    ("model", "steps", "said"),
    [
        ("cnn", "flip=7", "Cannot use Flip(direction=7.0)"),
        (
            "lstm",
            "flip",
            "Cannot use --augment with `unidl train lstm`: it applies only to `unidl train cnn`",
        ),
    ],
)
def test_an_augmentation_that_cannot_be_is_said_before_anything_is_loaded(model: str, steps: str, said: str):
    answer = unidl("train", model, "--augment", steps, "--data", "nowhere")
    assert answer.code == 2
    assert said in answer.err
