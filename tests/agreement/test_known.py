"""What stock Keras computes differently on one framework is found, named, and corrected in unidl's loop.

Without this a person meets it as a model that got worse on the way from one framework to another.
"""

from __future__ import annotations

import numpy as np
import pytest

from unidl import registry
from unidl.agreement.causes import cause
from unidl.agreement.verdicts import Difference, Fault, Layer


def fault(kind: str, quantity: str = "output", **traits: object) -> Fault:
    return Fault("layer", Layer("layer", kind, traits), Difference(quantity, "layer", 1.0, 1e-6, 1e-6))


@pytest.mark.parametrize(
    ("backend", "found", "words"),
    [
        ("torch", fault("AveragePooling2D", padding="same"), "counts padding into the average"),
        ("torch", fault("Resizing", interpolation="bicubic"), "uses a different cubic"),
        ("tensorflow", fault("Resizing", interpolation="bicubic"), "from a table of 1024 positions"),
        ("tensorflow", fault("Embedding", "weight"), "squares the gradients of a repeated token"),
        ("jax", fault("Resizing", interpolation="bilinear"), "a different interpolation"),
        ("jax", fault("BatchNormalization", "weight"), "another momentum"),
        ("jax", fault("BatchNormalization"), "a different epsilon"),
        ("torch", fault("LSTM"), "order of the gates"),
        ("torch", fault("Conv2D", padding="same"), "distributed differently"),
    ],
)
def test_a_likely_cause_is_named_with_what_to_do(backend: str, found: Fault, words: str):
    text, remedy = cause(found, backend, "keras", "cpu") or ("", "")
    assert words in text
    assert remedy


def test_tf32_is_suspected_on_a_gpu_only():
    assert "TF32" in (cause(fault("Dense"), "torch", "unidl", "gpu") or ("",))[0]
    assert "TF32" not in (cause(fault("Dense"), "torch", "unidl", "cpu") or ("",))[0]


def kernels():
    """Where Keras computes as in the loop of the backend in use."""
    from unidl import devices

    return registry.current().kernels(devices.resolve().device)


@pytest.mark.parametrize("shape", [(1, 7, 10, 2), (2, 6, 6, 1)])
@pytest.mark.parametrize(("pool", "step"), [(3, 2), (2, 2), (4, 3)])
def test_an_average_leaves_out_the_padding(backend, shape, pool, step):
    """Keras on PyTorch would count it, at the borders of every image."""
    from keras import ops

    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with kernels():
        found = ops.convert_to_numpy(ops.average_pool(images, pool, step, "same", "channels_last"))
    expected = np.zeros(found.shape)
    for row, column in np.ndindex(found.shape[1:3]):
        parts = images
        for axis, (place, size) in enumerate(((row, shape[1]), (column, shape[2])), start=1):
            before = max((-(-size // step) - 1) * step + pool - size, 0) // 2
            inside = range(max(0, place * step - before), min(size, place * step - before + pool))
            parts = np.take(parts, inside, axis=axis)
        expected[:, row, column] = parts.mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(9, 4), (3, 13), (7, 5)])
def test_bicubic_resizing_takes_the_same_cubic_everywhere(backend, size):
    """TensorFlow looks the cubic up in a table, which costs it three digits."""
    from keras import ops

    images = np.random.default_rng(0).uniform(size=(2, 7, 5, 3)).astype(np.float32)
    with kernels():
        found = ops.convert_to_numpy(ops.image.resize(images, size, "bicubic", antialias=False))
    rows, columns = (cubic(wanted, given) for wanted, given in zip(size, images.shape[1:3], strict=True))
    expected = np.einsum("oh,bhwc,pw->bopc", rows, images, columns)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 if backend.name == "tensorflow" else 1e-6)


def cubic(wanted: int, given: int) -> np.ndarray:
    """The shares of Keys 1981 with a = -1/2, pixel by pixel."""
    shares = np.zeros((wanted, given))
    for place in range(wanted):
        middle = (place + 0.5) * given / wanted - 0.5
        for pixel in range(given):
            far = abs(middle - pixel)
            if far < 1:
                shares[place, pixel] = 1.5 * far**3 - 2.5 * far**2 + 1
            elif far < 2:
                shares[place, pixel] = -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2
    return shares / shares.sum(axis=1, keepdims=True)
