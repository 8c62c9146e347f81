"""What only PyTorch has: its switches for TF32, modules inside a model, and moving parameters."""

from __future__ import annotations

import pytest

from unidl import registry
from unidl.precision import named

if registry.choice()[0].name != "torch":
    pytest.skip("another backend is under test", allow_module_level=True)

import numpy as np
import torch
from training import FLOAT32, dense, draws, points

from unidl import Trainer, layers

GPU = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
CPU = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)


def switches():
    return [switch.fp32_precision for switch in (*GPU, *CPU)]


def test_the_switches_of_every_library_are_set_and_put_back():
    """Left alone, convolutions and RNNs compute in TF32 while matrix products do not."""
    before = switches()
    for name, on_gpu in (("float32", "ieee"), ("tf32", "tf32"), ("mixed_bfloat16", "tf32")):
        with registry.current().precision(named(name)):
            assert switches() == [on_gpu] * 3 + ["ieee"] * 3
        assert switches() == before


def test_float32_is_float32_whatever_the_program_set_before():
    """set_float32_matmul_precision("medium") lets a CPU with bfloat16 units round to 8 bits of mantissa."""
    before = switches()
    try:
        torch.set_float32_matmul_precision("medium")
        lowered = switches()
        assert "bf16" in lowered
        with registry.current().precision(named("float32")):
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


def test_weights_are_computed_in_aligned_memory_and_tied_ones_stay_tied():
    """Sums may end in other bits where memory begins elsewhere, and NumPy's begins elsewhere in each process."""
    import keras
    from unidl_torch.loop import ALIGNMENT, move

    def astray(count):
        memory = torch.zeros(count + ALIGNMENT)
        first = 4 + (-memory.data_ptr() % ALIGNMENT) // 4
        return memory[first : first + count]

    with keras.device("cpu"):
        alone, one, other = (keras.Variable(np.ones(6, np.float32)) for _ in range(3))
        shared = astray(6)
        alone.value.data, one.value.data, other.value.data = astray(6).copy_(torch.arange(6)), shared, shared
        parameter = alone.value
        move([alone, one, other, alone], torch.device("cpu"))
        assert alone.value is parameter
        assert alone.value.data_ptr() % ALIGNMENT == 0
        assert alone.value.tolist() == [0, 1, 2, 3, 4, 5]
        one.assign(np.full(6, 3.0, np.float32))
        assert other.value.tolist() == [3.0] * 6


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


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("with_states", [False, True])
def test_recurrent_layers_skip_what_keras_skips(kind, with_states):
    """Masked steps anywhere, in rows with all and with none of them, read in both directions, with what a
    Bidirectional layer asks for: zeros in place of the output before."""
    import itertools

    import keras
    from unidl_torch.kernels import REPLACEMENTS

    drawn = draws()
    mask = drawn.random((6, 9)) > 0.4
    mask[0], mask[1] = False, True
    mask, steps, *states = (
        keras.ops.convert_to_tensor(given)
        for given in (mask, *(drawn.normal(size=shape).astype(np.float32) for shape in ((6, 9, 3), (6, 5), (6, 5))))
    )
    steps, states = steps.requires_grad_(), states[: 2 if kind == "LSTM" else 1]
    for backwards, zeros, sequences in itertools.product([False, True], repeat=3):
        layer = getattr(keras.layers, kind)(
            5,
            go_backwards=backwards,
            zero_output_for_mask=zeros,
            return_sequences=sequences,
            return_state=with_states,
        )
        layer.build((6, 9, 3))
        for weight in layer.trainable_weights:
            weight.assign(drawn.normal(scale=0.5, size=weight.shape))
        expected = outputs_and_gradients(layer, steps, mask, states if with_states else None)
        with REPLACEMENTS.in_use():
            found = outputs_and_gradients(layer, steps, mask, states if with_states else None)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def waves(output):
    return torch.sin(torch.arange(output.numel(), device=output.device)).reshape(output.shape)


def outputs_and_gradients(layer, steps, mask, states):
    import keras

    outputs = keras.tree.flatten(layer(steps, mask=mask, initial_state=states))
    loss = sum(torch.sum(output * waves(output)) for output in outputs)
    gradients = torch.autograd.grad(loss, [steps, *(weight.value for weight in layer.trainable_weights)])
    return [*(output.detach() for output in outputs), *gradients]


@pytest.mark.parametrize("seed", [3, None])
def test_dropout_is_traced_and_drops_other_units_in_each_step(seed):
    """A mask that the trace held as a constant would train a smaller model; nothing learns here, so that the losses
    tell the masks apart."""
    import keras

    model = dense(dropout=0.5, seed=seed, optimizer=keras.optimizers.SGD(0.0), units=32)
    trainer = Trainer(model)
    trainer.fit(points(8), epochs=20, batch_size=8, progress="quiet")
    assert trainer.why_not_compiled is None
    assert len(set(trainer.history["loss"])) == 20


def test_predicting_and_testing_are_traced_once_they_go_on(monkeypatch):
    """Rows come one by one where a model answers requests: Keras's share of each is many times what it computes."""
    model = dense(metrics=["mae"])
    trainer = Trainer(model)
    expected = trainer.predict(points(20).x)
    rows = [trainer.predict(row[np.newaxis]) for row in points(20).x]
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=FLOAT32)
    tested = trainer.evaluate(points(20), batch_size=20)
    monkeypatch.setattr(type(model), "call", None)
    np.testing.assert_allclose(trainer.predict(points(1).x), expected[:1], atol=FLOAT32)
    monkeypatch.undo()
    again = trainer.evaluate(points(20), batch_size=1)
    for name, value in tested.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-5)


def test_a_trace_sees_weights_that_have_changed_since():
    model = dense()
    trainer = Trainer(model)
    for row in points(20).x:
        trainer.predict(row[np.newaxis])
    for weight in model.weights:
        weight.assign(weight + 0.1)
    x = points(1).x
    np.testing.assert_allclose(trainer.predict(x), dense_outputs(model, x), rtol=FLOAT32, atol=FLOAT32)


def test_what_is_computed_of_frozen_weights_beforehand_is_computed_anew_when_they_change():
    """The layout of a frozen kernel is changed once, not in each step: unless somebody gives it other values."""
    import keras

    images = keras.Input((6, 6, 2))
    values = keras.layers.Conv2D(4, 3, name="frozen", trainable=False)(images)
    model = keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(values)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = draws().normal(size=(8, 6, 6, 2)).astype(np.float32)
    y = np.zeros((8, 1), np.float32)
    trainer = Trainer(model)
    losses = []
    for factor in (1.0, 1.0, 3.0, 1 / 3):
        kernel = model.get_layer("frozen").kernel
        kernel.assign(kernel * factor)
        trainer.fit((x, y), epochs=4, batch_size=8, progress="quiet")
        losses += trainer.history["loss"]
        found = np.concatenate([trainer.predict(row[np.newaxis]) for row in x for _ in range(2)])
        np.testing.assert_allclose(found[::2], model.predict(x, verbose=0), rtol=1e-4, atol=FLOAT32)
    np.testing.assert_allclose(losses[:8] + losses[12:], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[8:12], losses[8], rtol=1e-5)
    assert losses[8] > 1.5 * losses[0]
    [traced] = trainer._ready_loop()._train._traced.values()
    assert traced._constants._names


@pytest.mark.parametrize(
    ("read", "moved"),
    [
        (lambda maps, pooled: pooled.sum(), True),
        (lambda maps, pooled: pooled.permute(0, 2, 3, 1).sin().sum(), True),
        (lambda maps, pooled: pooled.sum() + maps.sin().sum(), False),
        (lambda maps, pooled: pooled.neg_().sin().sum(), False),
    ],
)
def test_gradients_go_through_relu_before_pooling(read, moved):
    """Where nothing else reads what is pooled, and nobody writes to what comes of it; and the numbers are the same."""
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.nn.functional import max_pool2d
    from unidl_torch.graphs import drop_detached, pool_before_relu

    def gradient(images):
        maps = images.requires_grad_().permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2)
        return torch.autograd.grad(read(maps, max_pool2d(maps, 2, 1)), images)

    images = torch.from_numpy(draws().normal(size=(2, 3, 5, 4)))
    graph = make_fx(gradient)(images)
    expected = graph(images)
    drop_detached(graph)
    pool_before_relu(graph.graph)
    graph.recompile()
    order = [node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"]
    [relu] = [place for place, name in enumerate(order) if name.startswith("threshold_backward")]
    [pooling] = [place for place, name in enumerate(order) if name.startswith("max_pool2d_with_indices_backward")]
    assert (relu < pooling) == moved
    torch.testing.assert_close(graph(images), expected, rtol=0, atol=0)


def test_a_trace_computes_anew_what_it_writes():
    """A counter of somebody's own; and memory that an operation shares without saying so."""
    from torch.fx.experimental.proxy_tensor import make_fx
    from unidl_torch.graphs import Constants

    counter = torch.zeros(())

    def step(values, leaves):
        share = counter / 10
        counter.add_(1)
        products = torch.matmul(values[0], values[1])  # of three axes: a view that is not called one
        products *= 0.5
        return [share, leaves[0] + products, torch.ones(2) + torch.tensor(1.0)]

    values, leaves = [torch.ones(1, 2, 2), torch.ones(2, 2)], [torch.zeros(1, 2, 2)]
    with torch.no_grad():
        graph = make_fx(step)(values, leaves)
        constants = Constants(graph, len(values))
        constants.update(values)
        counter.zero_()
        found = [graph.forward(values, leaves) for _ in range(3)]
    assert [round(float(share), 3) for share, *_ in found] == [0.0, 0.1, 0.2]
    assert all(torch.equal(sums, torch.ones(1, 2, 2)) for _, sums, _ in found)
    assert constants._names  # the twos, which depend on nothing


def test_vectors_from_which_gradients_were_cut_off_are_not_looked_up_again():
    """An LSTM that reads the table in their place would train it."""
    import keras

    from unidl.kernels import looked_up, noticed

    layer = keras.layers.Embedding(4, 3)
    layer.build()
    embed = noticed(keras.layers.Embedding.call)
    tokens = keras.ops.zeros((8, 6), "int32")
    assert looked_up(embed(layer, tokens)) is not None
    assert looked_up(embed(layer, tokens).detach_()) is None
    with torch.no_grad():
        assert looked_up(embed(layer, tokens)) is None
    rows = embed(layer, tokens)
    rows.register_hook(lambda gradient: 2 * gradient)
    assert looked_up(rows) is None


@pytest.mark.parametrize("traced", [True, False])
def test_predictions_follow_weights_that_adam_has_changed(traced):
    """PyTorch's fused Adam writes without counting up the versions of tensors, by which a trace sees a change."""
    import keras

    images = keras.Input((6, 6, 2))
    values = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(images))
    model = keras.Model(images, keras.layers.Dense(1)(values))
    model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=not traced)
    x = draws().normal(size=(8, 6, 6, 2)).astype(np.float32)
    trainer = Trainer(model)
    for _ in range(3):
        trainer.fit((x, np.zeros((8, 1), np.float32)), epochs=4, batch_size=8, progress="quiet")
        found = np.concatenate([trainer.predict(row[np.newaxis]) for row in x for _ in range(2)])
        np.testing.assert_allclose(found[::2], model.predict(x, verbose=0), rtol=1e-4, atol=FLOAT32)
    assert (trainer.why_not_compiled is None) == traced


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


LAYERS = {
    "AlphaDropout": (0.3,),
    "CenterCrop": (4, 4),
    "ColourSpace": ("hsv",),
    "Dropout": (0.3,),
    "GaussianDropout": (0.3,),
    "GaussianNoise": (0.3,),
    "Normalize": (0.5, 0.5),
    "RandomBrightness": (0.3,),
    "RandomContrast": (0.3,),
    "RandomFlip": (),
    "RandomRotation": (0.3,),
    "RandomTranslation": (0.3, 0.3),
    "RandomZoom": (0.3,),
    "Resize": (4, 4),
    "SpatialDropout2D": (0.3,),
}
STEPS = "Blur Brightness Contrast Crop Erasing Flip Grayscale Hue Rotation Saturation Shear Translation Zoom"
"""Without RandAugment: to equalize it counts grey levels by `keras.ops.segment_sum`, which reads how many there are."""


@pytest.mark.parametrize("name", [*LAYERS, *STEPS.split()])
def test_the_shape_of_what_a_layer_returns_is_found_without_computing(name):
    """Keras calls it with tensors that have no values. Where it reads one, Keras calls it again with others, which on a
    GPU come beside what is left of the first ones."""
    import keras

    made = getattr(layers, name)
    layer = made(*LAYERS[name]) if name in LAYERS else layers.Augmentation([made()])
    devices = []

    class Outer(keras.layers.Layer):
        def call(self, x):
            devices.append(x.device.type)
            return layer(x, training=True)

    Outer()(keras.Input((8, 8, 3)))
    assert set(devices) == {"meta"}
