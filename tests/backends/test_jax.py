"""What only JAX has: the arithmetic that XLA is told to use, and where arrays live."""

from __future__ import annotations

import pytest

from unidl import registry
from unidl.backend import Precision

if registry.choice()[0].name != "jax":
    pytest.skip("another backend is under test", allow_module_level=True)

import jax
import jax.numpy as jnp
from training import assert_fits_or_not_trains_the_same


def told(policy):
    """What XLA is told about a matrix product and a convolution."""
    matrix, images = jnp.ones((4, 4)), jnp.ones((1, 4, 4, 1))

    def compute(a, b):
        return a @ a, jax.lax.conv(b, b, (1, 1), "SAME")

    if policy is None:
        return str(jax.make_jaxpr(compute)(matrix, images))
    with registry.current().precision(Precision(policy)):
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
    with registry.current().precision(Precision("float32")):
        lowered = jax.jit(lambda a: a @ a).lower(jnp.ones((4, 4))).as_text()
    assert "HIGHEST" in lowered


def test_data_too_large_for_the_device_trains_the_same(monkeypatch):
    """A few batches of it at a time are gathered on the host; the last piece of an epoch is a shorter one."""
    from unidl_jax.loop import JaxLoop

    assert_fits_or_not_trains_the_same(JaxLoop, monkeypatch)
