"""Exported files run by JAX, without Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

Run = Callable[[Sequence[np.ndarray[Any, Any]]], Sequence[Any]]


def open_stablehlo(content: bytes) -> tuple[Run, dict[str, str]]:
    """Return a function from inputs to outputs, and the version of JAX. Compiled once per batch size."""
    exported = jax_export.deserialize(bytearray(content))
    call = jax.jit(exported.call)

    def run(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        return [np.asarray(one) for one in call(*arrays)]

    return run, {"jax": jax.__version__}
