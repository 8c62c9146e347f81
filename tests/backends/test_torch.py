"""What only PyTorch has: its switches for TF32, modules inside a model, and moving parameters."""

from __future__ import annotations

import pytest

from unidl import registry
from unidl.backend import Precision

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

import numpy as np
import torch
from training import FLOAT32, dense, points

from unidl import Trainer

GPU = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
CPU = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)


def switches():
    return [switch.fp32_precision for switch in (*GPU, *CPU)]


def test_the_switches_of_every_library_are_set_and_put_back():
    """Left alone, convolutions and RNNs compute in TF32 while matrix products do not."""
    before = switches()
    for name, on_gpu in (("float32", "ieee"), ("tf32", "tf32"), ("mixed_bfloat16", "tf32")):
        with registry.current().precision(Precision(name)):
            assert switches() == [on_gpu] * 3 + ["ieee"] * 3
        assert switches() == before


def test_float32_is_float32_whatever_the_program_set_before():
    """set_float32_matmul_precision("medium") lets a CPU with bfloat16 units round to 8 bits of mantissa."""
    before = switches()
    try:
        torch.set_float32_matmul_precision("medium")
        lowered = switches()
        assert "bf16" in lowered
        with registry.current().precision(Precision("float32")):
            assert switches() == ["ieee"] * 6
        assert switches() == lowered
    finally:
        for switch, value in zip((*GPU, *CPU), before, strict=True):
            switch.fp32_precision = value


def test_modules_of_pytorch_are_told_to_train_and_to_stop():
    """A torch module inside a Keras model drops units by its own mode, which Keras's fit sets as well."""
    import keras

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, values):
            modes.append(self.training)
            return values * self.weight

    modes: list[bool] = []
    wrapped = keras.layers.TorchModuleWrapper(Watching())
    model = keras.Sequential([keras.Input((3,)), wrapped, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    trainer = Trainer(model)
    trainer.evaluate(points(8))  # Keras has asked for the shapes of outputs after this
    modes.clear()
    trainer.fit(points(8), batch_size=4, progress="quiet")
    assert set(modes) == {True}
    modes.clear()
    trainer.evaluate(points(4))
    trainer.predict(points(4).x)
    assert set(modes) == {False}
    assert not model.training


class Parameter:
    """As much of a PyTorch parameter as moving touches; this machine has no second device to move a real one to."""

    def __init__(self, device):
        self.device = torch.device(device)
        self.moves: list[torch.device] = []

    @property
    def data(self):
        return self

    @data.setter
    def data(self, moved):
        self.device = moved

    def to(self, device):
        self.moves.append(device)
        return device


class Variable:
    def __init__(self, device):
        self.value = Parameter(device)


def test_only_what_is_elsewhere_moves_and_parameters_stay_the_same_objects():
    """Keras remembers parameters by identity: a new object would train while the old one is saved."""
    from unidl_torch.loop import move

    there = torch.device("cuda", 1)
    variables = [Variable("cpu"), Variable("cuda:1"), Variable("cuda:0")]
    values = [variable.value for variable in variables]
    move(variables, there)
    assert [variable.value for variable in variables] == values
    assert [value.device for value in values] == [there] * 3
    assert [len(value.moves) for value in values] == [1, 0, 1]


def test_everything_of_a_model_is_brought_to_the_device(monkeypatch):
    """Optimizer state left on the CPU fails at the first step on a GPU."""
    from unidl_torch import loop

    moved: list[int] = []
    monkeypatch.setattr(loop, "move", lambda variables, device: moved.extend(id(one) for one in variables))
    model = dense(optimizer="adam", metrics=["mae"])
    trainer = Trainer(model)
    trainer.fit(points(4), batch_size=4, progress="quiet")
    wanted = {id(one) for one in (*model.variables, *model.optimizer.variables, *model.metrics_variables)}
    assert wanted <= set(moved)
    moved.clear()
    trainer.predict(points(4).x)
    assert {id(one) for one in model.variables} <= set(moved)


def test_torch_compile_is_not_promised():
    model = dense(jit_compile=True)
    trainer = Trainer(model)
    assert "torch.compile" in str(trainer.why_not_compiled)
    trainer.fit(points(4), batch_size=4, progress="quiet")
    np.testing.assert_allclose(
        trainer.predict(points(4).x), dense_outputs(model, points(4).x), rtol=FLOAT32, atol=FLOAT32
    )


def dense_outputs(model, x):
    kernel_1, bias_1, kernel_2, bias_2 = model.get_weights()
    return np.tanh(x @ kernel_1 + bias_1) @ kernel_2 + bias_2
