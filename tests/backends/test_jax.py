"""What only JAX has: the arithmetic that XLA is told to use, and where arrays live."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from unidl import registry
from unidl.precision import named

if registry.choice()[0].name != "jax":
    pytest.skip("another backend is under test", allow_module_level=True)

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from training import assert_fits_or_not_trains_the_same


def told(policy):
    """What XLA is told about a matrix product and a convolution."""
    matrix, images = jnp.ones((4, 4)), jnp.ones((1, 4, 4, 1))

    def compute(a, b):
        return a @ a, jax.lax.conv(b, b, (1, 1), "SAME")

    inside = nullcontext() if policy is None else registry.current().precision(named(policy))
    with jax.default_matmul_precision(None), inside:  # as a program has it that set nothing
        return str(jax.make_jaxpr(compute)(matrix, images))


def test_float32_is_the_highest_precision():
    """JAX's own default is TF32 wherever the GPU has it."""
    before = told(None)
    assert told("float32").count("HIGHEST") >= 4
    assert "HIGHEST" not in told("tf32")
    assert told("tf32").count("HIGH") >= 4
    assert told("mixed_bfloat16") == told("mixed_float16") == told(None) == before
    assert "HIGH" not in before


def test_the_compiled_program_says_so():
    with registry.current().precision(named("float32")):
        lowered = jax.jit(lambda a: a @ a).lower(jnp.ones((4, 4))).as_text()
    assert "HIGHEST" in lowered


def test_data_too_large_for_the_device_trains_the_same(monkeypatch):
    """A few batches of it at a time are gathered on the host; the last piece of an epoch is a shorter one."""
    from unidl_jax.data import DeviceData

    assert_fits_or_not_trains_the_same(DeviceData, monkeypatch)


@pytest.mark.parametrize(
    ("batch", "filters", "strides", "padding", "parts"),
    [(8, 3, (1, 1), "VALID", 4), (6, 3, (2, 1), "SAME", 3), (7, 3, (1, 1), "SAME", 7), (8, 90, (1, 1), "VALID", 8)],
)
def test_a_convolution_in_parts_is_the_convolution(monkeypatch, batch, filters, strides, padding, parts):
    """With limits small enough that a few images come at a time, also where the outputs are the larger half."""
    from unidl_jax import kernels_images

    monkeypatch.setattr(kernels_images, "TILE_BYTES", 32_000)
    monkeypatch.setattr(kernels_images, "LARGEST_OUTPUTS", 10_000)
    draws = np.random.default_rng(0)
    images = jnp.asarray(draws.standard_normal((batch, 12, 10, 5)), jnp.float32)
    kernel = jnp.asarray(draws.standard_normal((3, 3, 5, filters)), jnp.float32)
    assert len(kernels_images._tiles(images, kernel, strides, padding)) == parts

    def ours(images, kernel):
        return jnp.sin(kernels_images.convolution(images, kernel, strides, padding)).sum()

    def stock(images, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jnp.sin(jax.lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=layout)).sum()

    for one, other in zip(*(jax.grad(each, argnums=(0, 1))(images, kernel) for each in (ours, stock)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * float(jnp.abs(other).max()))  # sums of up to 800 products


def test_a_convolution_is_left_to_xla_where_its_parts_would_be_too_large(monkeypatch):
    """What counts is what is made at once: of a batch in four parts a quarter, of an odd one all."""
    import keras
    from unidl_jax import kernels, kernels_images

    monkeypatch.setattr(kernels_images, "TILE_BYTES", 32_000)
    images, kernel = jnp.ones((8, 12, 10, 5)), jnp.ones((3, 3, 5, 3))
    at_once = kernels_images.patch_bytes(images, kernel, (1, 1), "VALID")
    assert at_once == 2 * 10 * 8 * 45 * 4
    for limit, ours in ((at_once, True), (at_once - 1, False)):
        monkeypatch.setattr(kernels_images, "LARGEST_PATCHES", limit)
        taken = []
        monkeypatch.setattr(kernels, "_conv", lambda *arguments, taken=taken: taken.append(arguments) or images)
        with kernels.REPLACEMENTS.in_use():
            keras.ops.conv(images, kernel, data_format="channels_last")
        assert bool(taken) is not ours


def test_an_lstm_computes_on_the_cpu_of_a_machine_with_a_gpu(monkeypatch):
    """Keras calls cuDNN wherever there is a GPU, also in a training on the CPU, where JAX has no such operation."""
    import keras
    from unidl_jax.keras_internals import GPU_THERE

    from unidl import Trainer

    def shapes(steps, hidden, cell):
        return steps.update(shape=(*steps.shape[:2], hidden.shape[0] * hidden.shape[2])), hidden, cell

    # As that of JAX: its shapes are known everywhere, its numbers nowhere here.
    cudnn = jax.extend.core.Primitive("cudnn")
    cudnn.multiple_results = True
    cudnn.def_abstract_eval(shapes)
    inputs = keras.Input((6,), dtype="int32")
    steps = keras.layers.Embedding(9, 4)(inputs)
    both_ways = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))(steps)
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.LSTM(3)(both_ways)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    start = model.get_weights()
    draws = np.random.default_rng(0)
    x, y = draws.integers(9, size=(8, 6), dtype=np.int32), draws.standard_normal((8, 1), np.float32)
    found = []
    for gpu in (False, True):
        if gpu:
            monkeypatch.setattr(GPU_THERE.owner, GPU_THERE.attribute, lambda: True)
            monkeypatch.setattr("jax.experimental.rnn.lstm", lambda *given, **_: cudnn.bind(*given[:3]))
        model.set_weights(start)
        trainer = Trainer(model, device="cpu")
        history = trainer.fit((x, y), batch_size=4, epochs=2, shuffle=False, progress="quiet").history
        found.append([*history["loss"], trainer.evaluate((x, y))["loss"], *trainer.predict(x)[:, 0]])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    with pytest.raises(NotImplementedError, match="cudnn"):
        jax.jit(lambda x: model(x))(x)
    pytest.importorskip("flatbuffers")  # which JAX needs to export
    assert registry.current().export(model, "stablehlo")  # which computes on a CPU as well


def test_noise_is_the_same_bits_where_it_is_compiled():
    """XLA rounds a product that is followed by a sum once, and operation by operation twice."""
    from unidl.layers import draws

    def noisy(x):
        key = draws.Key(jnp.int32(3), jnp.int32(4))
        return x + draws.normal(x.shape, key, 0.3), x * (1.0 + draws.normal(x.shape, key, 0.3))

    x = jnp.asarray(np.random.default_rng(0).standard_normal((256, 256)), jnp.float32)
    for one, other in zip(noisy(x), jax.jit(noisy)(x), strict=True):
        np.testing.assert_array_equal(one, other)
