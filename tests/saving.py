"""Models with weights that no seed would give, saved, loaded and compared, for the tests of saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unidl import load_model
from unidl.saving.directories import read_directory, write_directory
from unidl.saving.saved import model_files

IMAGES = np.random.default_rng(1).uniform(size=(3, 8, 8, 1)).astype(np.float32)
TOKENS = np.random.default_rng(2).integers(0, 12, size=(3, 4)).astype(np.int32)
ROWS = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float32)

ACROSS_BACKENDS = 1e-5
"""Outputs near 1 in float32: sums of some hundred products, added up in another order by each framework."""


def scramble(model: Any) -> Any:
    """Give every weight values that its initializer would not: what is not stored then shows in the outputs."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(generator.uniform(0.1, 0.9, size=weight.shape).astype(np.float32))
    return model


def outputs(model: Any, x: Any) -> np.ndarray:
    """What the model gives in inference, as float32: NumPy has no bfloat16."""
    from keras import ops

    return ops.convert_to_numpy(ops.cast(model(x, training=False), "float32"))


def learning(model: Any) -> list[bool]:
    """Whether each layer learns, for those that have something to learn."""
    from unidl.layer_paths import walk

    return [layer.trainable for _, layer in walk(model) if layer.weights]


def assert_same_model(loaded: Any, model: Any, x: Any = None) -> None:
    """The same names, the same layers frozen, and bit for bit the same weights and, for inputs `x`, outputs."""
    from keras import ops

    from unidl.layer_paths import named_weights
    from unidl.models import record_of

    assert loaded is not model
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one.value), ops.convert_to_numpy(other.value), strict=True)
    if x is not None:
        np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x), strict=True)
    assert loaded.name == model.name
    assert loaded.count_params() == model.count_params()
    assert [weight.dtype for weight in loaded.weights] == [weight.dtype for weight in model.weights]
    assert list(named_weights(loaded)) == list(named_weights(model))
    assert learning(loaded) == learning(model)
    assert record_of(loaded) == record_of(model)


def save(model: Any, path: Path) -> Path:
    """Save a model that nobody has trained or compiled."""
    write_directory(path, model_files(model))
    return path


def saved_and_loaded(model: Any, path: Path, **options: Any) -> Any:
    """The model that comes back from the disk."""
    return load_model(save(model, path), **options)


def rewrite(path: Path, **changes: bytes | None) -> None:
    """Replace or remove files of a saved model, named without their ending, with a manifest that says so: what a
    hand-made or an evil file would be."""
    files = read_directory(path)
    for stem, content in changes.items():
        [name] = [name for name in files if name.startswith(stem)]
        del files[name]
        if content is not None:
            files[name] = content
    write_directory(path, files)
