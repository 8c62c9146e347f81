"""Video files. Frames in another order, or from another place of the file with each number of threads, and a model of
motion learns noise."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from clip_files import COUNT, SIDE, write_clip
from command_line import unidl

from unidl import Trainer, load_data
from unidl.data.clips import read_clip
from unidl.errors import DataError, UsageError
from unidl.models import record_of
from unidl.training.run_directory import save_run

av = pytest.importorskip("av", reason="an extra: unidl[video]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of 8 clips."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(8):
        write_clip(root / "left" / f"{number}.mp4", right=False, first=number % 3)
        write_clip(root / "right" / f"{number}.mp4", first=number % 3)
    return root


def lefts(clip):
    """Where the square is in each frame."""
    bright = (clip > 125).astype(float).mean(axis=(1, 3))
    return (bright * np.arange(clip.shape[2])).sum(axis=1) / bright.sum(axis=1)


@pytest.mark.parametrize("frames", [4, COUNT, 2 * COUNT])
def test_frames_are_spread_evenly_over_the_file(folder, frames):
    clip = read_clip(str(folder / "right" / "0.mp4"), frames, (SIDE, SIDE), 3)
    assert (clip.shape, clip.dtype) == ((frames, SIDE, SIDE, 3), np.uint8)
    steps = np.floor((np.arange(frames) + 0.5) * COUNT / frames)
    np.testing.assert_allclose(np.diff(lefts(clip)), np.diff(steps), atol=1)  # the edges are blurred


def test_each_clip_has_its_label_whatever_the_number_of_threads(folder):
    whole = load_data(folder, image_size=(16, 16), frames=6, channels=1, workers=0)
    assert (whole.kind, whole.class_names) == ("clips", ("left", "right"))
    assert whole.train.x.shape == (12, 6, 16, 16, 1)
    for split in (whole.train, whole.test):
        assert [int(np.diff(lefts(clip)).sum() > 0) for clip in np.asarray(split.x)] == split.y.tolist()
    threads = load_data(folder, image_size=(16, 16), frames=6, channels=1, workers=3)
    np.testing.assert_array_equal(np.asarray(threads.train.x), np.asarray(whole.train.x))
    assert threads.origin == whole.origin
    assert load_data(folder, image_size=(16, 16), frames=5, channels=1).origin["sha256"] != whole.origin["sha256"]


def test_a_model_learns_the_direction_and_resumes_to_the_bit(folder, tmp_path, backend):
    import keras

    data = load_data(folder, image_size=(16, 16), frames=6, channels=1)

    def trainer():
        inputs = keras.Input((6, 16, 16, 1))
        values = keras.layers.Reshape((6, 256))(inputs)
        values = keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(1))(values)
        values = keras.layers.Flatten()(values)
        outputs = keras.layers.Dense(2, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(2))(
            values
        )
        return Trainer(
            keras.Model(inputs, outputs),
            optimizer=keras.optimizers.Adam(0.01),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    whole = trainer()
    whole.fit(data.train, epochs=12, batch_size=4, progress="quiet")
    assert whole.evaluate(data.train)["accuracy"] == 1.0
    assert record_of(whole.model).value_range == (0.0, 1.0)
    kept = {"checkpoint": tmp_path / "run", "batch_size": 4, "progress": "quiet"}
    trainer().fit(data.train, epochs=5, **kept)
    resumed = trainer()
    resumed.fit(data.train, epochs=12, resume=True, **kept)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    save_run(whole, tmp_path / "saved", configuration={"data": str(folder), "frames": 6})
    answer = unidl("evaluate", tmp_path / "saved", "--trust", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["rows"] == 4
    answer = unidl("evaluate", tmp_path / "saved", "--trust", "--data", "digits")
    assert "the model expects clips of 6 x 16 x 16 x 1 (frames x height x width x channels)" in answer.err


def test_damaged_files_are_named_or_skipped(tmp_path):
    for kind in ("left", "right"):
        for number in range(2):
            write_clip(tmp_path / kind / f"{number}.mp4", right=kind == "right")
    broken = tmp_path / "left" / "1.mp4"
    broken.write_bytes(broken.read_bytes()[:500])
    options = {"image_size": (8, 8), "frames": 2, "test_fraction": 0.4}
    data = load_data(tmp_path, **options)
    with pytest.raises(DataError, match=r"Cannot read the clip '.*left.1\.mp4'"):
        np.asarray(data.train.x), np.asarray(data.test.x)
    (tmp_path / "left" / "2.mp4").write_bytes((tmp_path / "left" / "0.mp4").read_bytes())
    data = load_data(tmp_path, on_error="skip", **options)
    np.asarray(data.train.x)


def test_a_file_that_ends_early_is_refused(folder, tmp_path):
    """Its last frames would stand for all that were lost."""
    path = tmp_path / "short.mp4"
    content = (folder / "right" / "0.mp4").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"Cannot read the clip '.*short\.mp4'"):
        read_clip(str(path), 4, (8, 8), 3)


def test_what_cannot_be_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="frames must be a whole number"):
        load_data(folder, frames=0)
    with pytest.raises(UsageError, match="Leave stream=False out"):
        load_data(folder, stream=False)
    write_clip(tmp_path / "mixed" / "a" / "0.mp4", frames=2)
    (tmp_path / "mixed" / "b").mkdir()
    (tmp_path / "mixed" / "b" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds clips, such as .*0\.mp4', and images"):
        load_data(tmp_path / "mixed")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"needs PyAV\. Install it with: pip install 'unidl\[video\]'"):
        load_data(folder)
