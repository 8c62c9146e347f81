"""The loop that JAX compiles for NVIDIA GPUs, read without one. Without this a step that waits for the host, or
computes in another precision, is found on a rented machine at best."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

import unidl
from unidl import registry
from unidl.backend import Batches, Chunk, Device
from unidl.precision import named

if registry.choice()[0].name != "jax":
    pytest.skip("another backend is under test", allow_module_level=True)

import jax
import keras
from unidl_jax.loop import JaxLoop

PRODUCTS = re.compile(r"^.*stablehlo\.(?:dot_general|convolution)\b.*$", re.MULTILINE)
HOST = re.compile(r"@\w*callback\w*|stablehlo\.(?:infeed|outfeed|send|recv)\b|xla\.gpu\.\w*host\w*", re.IGNORECASE)
DONATED = re.compile(r"tf\.aliasing_output|jax\.buffer_donor")


def program(model: keras.Model, x: np.ndarray, policy: str = "float32", platform: str = "gpu") -> tuple[str, int]:
    """Return the loop over steps as it is given to XLA for CUDA, and how many arrays a state has."""
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    backend = registry.current()
    with backend.on(Device("cpu")), backend.precision(named(policy)):
        loop = JaxLoop(model, jax.local_devices(backend="cpu")[0], 4)
        chunk = Chunk(Batches(x, np.arange(len(x)) % 3), np.arange(8).reshape(2, 4))
        loop._read_state(chunk)
        data, _ = next(loop._data.pieces(chunk))
        loop._device = SimpleNamespace(platform=platform)  # which kernels it uses is decided by this
        with loop._kernels():
            traced = loop._train_many.trace(loop._owned_state(), data, np.zeros((4, 4), np.int32), 2)
        return traced.lower(lowering_platforms=("cuda",)).as_text(), len(jax.tree.leaves(loop._owned_state()))


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 9, (8, 4)).astype("int32")


def images() -> np.ndarray:
    return np.zeros((8, 12, 12, 1), "float32")


def cnn(precision: str = "float32") -> keras.Model:
    return unidl.build_cnn((12, 12, 1), classes=3, filters=(4, 4), dense_units=5, dropout=0.1, precision=precision)


def not_highest(text: str) -> list[str]:
    """The products of float32 that are not computed in full float32."""
    return [line for line in PRODUCTS.findall(text) if "HIGHEST" not in line]


@pytest.fixture(scope="module")
def of_cnn() -> tuple[str, int]:
    return program(cnn(), images())


def test_the_steps_of_a_cnn_stay_on_the_gpu_in_one_loop(of_cnn):
    text, arrays = of_cnn
    assert HOST.findall(text) == []
    assert "stablehlo.while" in text
    assert len(DONATED.findall(text)) == arrays
    assert not_highest(text) == []


def test_convolutions_are_left_to_cudnn(of_cnn):
    """Two forward, two for kernels, one for the inputs of the second; our kernels for CPUs make products of them."""
    assert of_cnn[0].count("stablehlo.convolution") == 5
    planted, _ = program(cnn(), images(), platform="cpu")
    assert planted.count("stablehlo.convolution") < 5


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_the_steps_of_other_builders_stay_on_the_gpu(name):
    build = unidl.build_lstm if name == "lstm" else unidl.build_transformer
    sizes = {"units": 8, "embedding_size": 6} if name == "lstm" else {"units": 8, "heads": 2, "layers": 1}
    text, arrays = program(build(9, 4, classes=3, dropout=0.1, **sizes), tokens())
    assert HOST.findall(text) == []
    assert len(DONATED.findall(text)) == arrays
    assert not_highest(text) == []


def test_each_precision_is_in_the_program():
    tf32, _ = program(cnn(), images(), "tf32")
    assert not_highest(tf32) != []
    assert all(re.search(r"\bHIGH\b", line) for line in PRODUCTS.findall(tf32))
    mixed, _ = program(cnn("mixed_bfloat16"), images(), "mixed_bfloat16")
    lines = PRODUCTS.findall(mixed)
    assert all("bf16" in line and "HIGH" not in line for line in lines if "xf32>, tensor" not in line)
    assert sum("bf16" in line for line in lines) >= 5


class Looks(keras.layers.Layer):
    """A layer that tells the host what it computes."""

    def call(self, inputs):
        jax.debug.callback(lambda value: None, inputs.sum())
        return inputs


def test_a_callback_and_a_state_that_is_not_donated_are_found(monkeypatch):
    model = keras.Sequential([keras.Input((4,)), Looks(), keras.layers.Dense(3, activation="softmax")])
    compiled = jax.jit
    monkeypatch.setattr(jax, "jit", lambda function, **options: compiled(function))
    text, _ = program(model, np.zeros((8, 4), "float32"), "mixed_bfloat16")
    assert HOST.findall(text) != []
    assert DONATED.findall(text) == []
    assert not_highest(text) != []
