"""A model trains where it was asked to, wherever it was built; the frameworks differ in how a model moves.

A second CPU device stands in for a GPU, which most machines lack.
"""

from __future__ import annotations

from pathlib import Path

import processes
import pytest
from training import dense, points

from unidl import Trainer
from unidl.errors import DeviceError

SECOND_CPU = {
    "jax": "",
    "tensorflow": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
""",
}

MOVING = """
import keras
import numpy as np
from training import FLOAT32, assert_same_weights, dense, points, weights_of
from unidl import Trainer, registry

backend = registry.current()
assert [device.id for device in backend.devices().found] == ["cpu:0", "cpu:1"]

def places(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    if backend.name == "jax":
        found = [{f"cpu:{device.id}" for device in variable.value.devices()} for variable in variables]
    else:
        found = [{variable.value.device.rpartition("device:")[2].lower()} for variable in variables]
    return set().union(*found)

def built():
    with backend.on(first):
        model = dense(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
        model.optimizer.build(model.trainable_variables)
        return model

first = backend.devices().found[0]
data = points(24)
options = {"batch_size": 4, "progress": "quiet"}

# On the second device from the start, and moved there and back in between: the same training.
stays, moves = built(), built()
assert places(moves) == {"cpu:0"}
there = Trainer(stays, device="cpu:1")
there.fit(data, epochs=3, **options)
assert places(stays) == {"cpu:1"}, places(stays)

trainers = [Trainer(moves, device=f"cpu:{index}") for index in (0, 1)]
for epoch, index in enumerate((1, 0, 1)):
    trainers[index].fit(data, epochs=epoch + 1, initial_epoch=epoch, **options)
    assert places(moves) == {f"cpu:{index}"}, places(moves)
assert int(moves.optimizer.iterations) == int(stays.optimizer.iterations) == 18
assert_same_weights(weights_of(moves), weights_of(stays), FLOAT32)

# Whoever computes sees the weights of now: both trainers, and Keras itself.
expected = trainers[1].predict(data.x)
for outputs in (trainers[0].predict(data.x), moves.predict(data.x, verbose=0), trainers[1].predict(data.x)):
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)
moves.fit(data.x, data.y, verbose=0)
moved = trainers[0].predict(data.x)
assert np.abs(moved - expected).max() > 1e-4
np.testing.assert_allclose(trainers[1].predict(data.x), moved, rtol=1e-6, atol=1e-6)
trainers[0].fit(data, epochs=1, **options)
np.testing.assert_allclose(moves.predict(data.x, verbose=0), trainers[0].predict(data.x), rtol=1e-6, atol=1e-6)
trainers[1].predict(data.x)
{checks}
print("moved")
"""

WHERE_IT_COMPUTES = {
    "jax": """
import jax
with trainers[1]._context():
    state = trainers[1]._ready_loop()._read_weights()
    outputs, _ = trainers[1]._ready_loop()._predict_one(
        state.trainable, state.non_trainable, (jax.device_put(data.x, jax.devices()[1]),), np.arange(2)
    )
assert outputs.devices() == {jax.devices()[1]}
""",
    "tensorflow": """
import tensorflow as tf
loop = trainers[1]._ready_loop()
with tf.device("cpu:1"):
    outputs = loop._predict_one((tf.convert_to_tensor(data.x),))
assert outputs.device.endswith("CPU:1"), outputs.device
""",
}


def test_a_model_moves_to_the_device_that_is_asked_for(backend):
    """Built on one device and asked to train on another, it once trained on the first, or on both."""
    if backend.name not in SECOND_CPU:
        pytest.skip(f"{backend.name} has one CPU device; tests/backends covers how it moves")
    code = SECOND_CPU[backend.name] + MOVING.replace("{checks}", WHERE_IT_COMPUTES[backend.name])
    said = processes.python(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{code}",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        UNIDL_DEVICE=None,
        JAX_PLATFORMS="cpu",  # also on a machine with a GPU, as the next one
        CUDA_VISIBLE_DEVICES="-1",
    )
    assert said == "moved"


def test_a_device_that_is_not_there_is_an_error_of_the_trainer(backend):
    with pytest.raises(DeviceError, match="Cannot use device='gpu:93'"):
        Trainer(dense(), device="gpu:93")


def test_the_title_says_where_and_in_what(backend, capsys):
    """The first line of a log answers the first question about a slow run."""
    model = dense()
    Trainer(model, device="cpu").fit(points(4), batch_size=4, progress="lines")
    title = capsys.readouterr().out.splitlines()[0]
    version = backend.versions()[next(iter(backend.versions()))]
    assert title.startswith("dense: 21 parameters, ")
    assert version in title
    assert title.endswith("on cpu:0 (requested by device='cpu'), float32")
