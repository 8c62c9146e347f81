"""The loop that JAX compiles for NVIDIA GPUs, read without one. Without this a step that waits for the host, or
computes in another precision, is found on a rented machine at best."""

from __future__ import annotations

import re
from functools import cached_property
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
HOST = re.compile(r"\w*callback\w*|\binfeed\b|\boutfeed\b")
DONATED = re.compile(r"tf\.aliasing_output|jax\.buffer_donor")


class Steps:
    """The loop over steps as JAX traces it for a GPU. platform: that of the device that the loop takes its kernels for;
    donate: whether the loop is left as it is."""

    def __init__(
        self,
        model: keras.Model,
        x: np.ndarray,
        policy: str = "float32",
        platform: str = "gpu",
        donate: bool = True,
    ) -> None:
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        backend = registry.current()
        with backend.on(Device("cpu")), backend.precision(named(policy)):
            loop = JaxLoop(model, jax.local_devices(backend="cpu")[0], 4)
            chunk = Chunk(Batches(x, np.arange(len(x)) % 3), np.arange(8).reshape(2, 4))
            loop._read_state(chunk)
            state = loop._owned_state()
            data, _ = next(loop._data.pieces(chunk))
            loop._device = SimpleNamespace(platform=platform)  # which kernels it uses is decided by this
            if not donate:
                loop._train_many = jax.jit(loop._train_steps)
            with loop._kernels():
                self._traced = loop._train_many.trace(state, data, np.zeros((4, 4), np.int32), 2)
        self.weights = sum(leaf.ndim > 0 and leaf.dtype == np.float32 for leaf in jax.tree.leaves(state))

    def host(self) -> list[str]:
        """The operations for which the host is needed."""
        return HOST.findall(str(self._traced.jaxpr))

    @cached_property
    def text(self) -> str:
        """The program that XLA gets for CUDA."""
        return self._traced.lower(lowering_platforms=("cuda",)).as_text()


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
def of_cnn() -> Steps:
    return Steps(cnn(), images())


def assert_stays_on_the_gpu(steps: Steps) -> None:
    assert steps.host() == []
    assert "stablehlo.while" in steps.text
    # Weights and the averages of Adam; of scalars, JAX passes on those that no step changes.
    assert len(DONATED.findall(steps.text)) >= steps.weights
    assert not_highest(steps.text) == []


def test_the_steps_of_a_cnn_stay_on_the_gpu_in_one_loop(of_cnn):
    assert_stays_on_the_gpu(of_cnn)


def test_convolutions_are_left_to_cudnn(of_cnn):
    """Two forward, two for kernels, one for the inputs of the second; our kernels for CPUs make products of them."""
    assert of_cnn.text.count("stablehlo.convolution") == 5
    assert Steps(cnn(), images(), platform="cpu").text.count("stablehlo.convolution") < 5


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_the_steps_of_other_builders_stay_on_the_gpu(name):
    build = unidl.build_lstm if name == "lstm" else unidl.build_transformer
    sizes = {"units": 8, "embedding_size": 6} if name == "lstm" else {"units": 8, "heads": 2, "layers": 1}
    assert_stays_on_the_gpu(Steps(build(9, 4, classes=3, dropout=0.1, **sizes), tokens()))


def test_each_precision_is_in_the_program():
    tf32 = Steps(cnn(), images(), "tf32").text
    assert not_highest(tf32) != []
    assert all(re.search(r"\bHIGH\b", line) for line in PRODUCTS.findall(tf32))
    lines = PRODUCTS.findall(Steps(cnn("mixed_bfloat16"), images(), "mixed_bfloat16").text)
    assert not any("HIGH" in line for line in lines)
    assert sum("bf16" in line for line in lines) >= 5


class Looks(keras.layers.Layer):
    """A layer that tells the host what it computes."""

    def call(self, inputs):
        jax.debug.callback(lambda value: None, inputs.sum())
        return inputs


def dense(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, activation="softmax")])


def test_a_callback_is_found():
    assert Steps(dense(Looks()), np.zeros((8, 4), "float32")).host() != []


def test_a_state_that_is_not_donated_and_a_lower_precision_are_found():
    planted = Steps(dense(), np.zeros((8, 4), "float32"), "mixed_bfloat16", donate=False)
    assert DONATED.findall(planted.text) == []
    assert not_highest(planted.text) != []
