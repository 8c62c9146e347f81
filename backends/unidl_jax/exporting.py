"""Export of a model's inference from JAX to StableHLO."""

from __future__ import annotations

from typing import Any

import jax
import keras
from jax import export as jax_export

from unidl.keras_internals import all_layers
from unidl_jax.replacing import corrections

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
AXES = ("batch", "length")
"""Names of the first axes of any size; the others are numbered."""


def export(model: keras.Model, kind: str) -> bytes:
    """Return a model as the content of one file; `kind` is "stablehlo", the only one."""
    longest = min((one.longest_sequence for one in all_layers(model) if hasattr(one, "longest_sequence")), default=None)
    scope = jax_export.SymbolicScope(() if longest is None else (f"length <= {longest}",))
    inputs = [
        jax.ShapeDtypeStruct(jax_export.symbolic_shape(_written(one.shape), scope=scope), one.dtype)
        for one in model.inputs
    ]
    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    structure: Any = model.input

    def infer(*flat: Any) -> list[Any]:
        rows = keras.tree.pack_sequence_as(structure, list(flat))
        found: Any = model.stateless_call(trainable, others, rows, training=False)
        return keras.tree.flatten(found[0])

    with corrections(jax.local_devices(backend="cpu")[0]):  # the CPU is one of the platforms
        return bytes(jax_export.export(jax.jit(infer), platforms=PLATFORMS)(*inputs).serialize())


def _written(shape: tuple[int | None, ...]) -> str:
    """Return a shape in the words of `jax.export.symbolic_shape`."""
    names = [*AXES, *(f"axis_{number}" for number in range(len(AXES), len(shape)))]
    return ", ".join(name if size is None else str(size) for name, size in zip(names, shape, strict=False))
