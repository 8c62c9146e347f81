"""The operations of a traced step as a GPU gets them, read without one. Without this a step that waits for the GPU
leaves it idle, and cannot be recorded as a CUDA graph."""

from __future__ import annotations

import numpy as np
import pytest

import unidl
from unidl import registry
from unidl.backend import Batches, Chunk, Device
from unidl.precision import named

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

import keras
import torch
from unidl_torch import kernels_images, kernels_recurrent
from unidl_torch.profiling import ProfiledTorchLoop
from unidl_torch.recording import _why_not
from unidl_torch.replacing import kernels
from unidl_torch.seeds import Seeds
from unidl_torch.traced import Traced

WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Switch off the kernels that are for tensors of a CPU, once they have been checked."""
    with kernels():
        pass
    original = kernels_images.plain_values

    def plain_values(*values, anywhere=False):
        return original(*values, anywhere=anywhere) if anywhere else None

    for module in (kernels_images, kernels_recurrent):
        monkeypatch.setattr(module, "plain_values", plain_values)
    monkeypatch.setattr(kernels_recurrent, "_plain_states", lambda *states: None)


def traced(model: keras.Model, x: np.ndarray) -> Traced:
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    backend = registry.current()
    with backend.on(Device("cpu")), backend.precision(named("float32")):
        chunk = Chunk(Batches(x, np.arange(len(x)) % 3), np.arange(4).reshape(1, 4))
        return ProfiledTorchLoop(model, torch.device("cpu"), 1).traced(chunk)[0]


def waiting(graph: torch.fx.Graph) -> list[str]:
    """The operations for whose result the host waits, or that bring values from one device to another."""
    found: list[str] = []
    for node in graph.nodes:
        tags = getattr(node.target, "tags", ())
        device = node.kwargs.get("device")
        if any(tag in tags for tag in WAITS) or node.kwargs.get("pin_memory"):
            found.append(str(node.target))
        elif device is not None and torch.device(device) != torch.device("cpu"):  # all of this trace is on the CPU
            found.append(f"{node.target} to {device}")
    return found


def model_and_rows(name: str) -> tuple[keras.Model, np.ndarray]:
    if name == "cnn":
        build = unidl.build_cnn((12, 12, 1), classes=3, filters=(4,), dense_units=5, dropout=0.1)
        return build, np.zeros((8, 12, 12, 1), "float32")
    tokens = np.random.default_rng(0).integers(0, 9, (8, 4)).astype("int32")
    if name == "transformer":
        return unidl.build_transformer(9, 4, units=8, heads=2, layers=1, classes=3, dropout=0.1), tokens
    return unidl.build_lstm(9, 4, units=8, embedding_size=6, classes=3, dropout=0.1, cell=name), tokens


@pytest.mark.parametrize("name", ["cnn", "lstm", "gru", "transformer"])
def test_a_step_waits_for_nothing_and_can_be_recorded(name):
    step = traced(*model_and_rows(name))
    assert waiting(step._graph.graph) == []
    assert _why_not(step._graph.graph) is None
    seeds = Seeds(step._graph, len(step.variables))
    assert seeds.why_not is None


class Waits(keras.layers.Layer):
    """A layer whose result depends on how many values are positive."""

    def call(self, inputs):
        return inputs + 0.0 * torch.nonzero(inputs > 0).sum()


def test_an_operation_that_waits_is_found():
    model = keras.Sequential([keras.Input((4,)), Waits(), keras.layers.Dense(3, activation="softmax")])
    step = traced(model, np.ones((8, 4), "float32"))
    assert "aten.nonzero.default" in waiting(step._graph.graph)
    assert "waits for values of the GPU" in str(_why_not(step._graph.graph))
