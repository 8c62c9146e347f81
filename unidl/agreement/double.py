"""A process in which Keras computes in float64, whatever the layers ask for."""

from __future__ import annotations

from typing import Any

FLOATS = ("float32", "float16", "bfloat16")


def compute_in_float64() -> None:
    """Make every floating type that a layer, an input, a loss or an optimizer asks for float64, from here on.

    For the whole process: no layer may have been made before. A builder that asks for float32 by name gets float64 as
    well, which no setting of Keras's can do.
    """
    import keras
    from keras.src import dtype_policies, ops

    find = dtype_policies.get
    make_input = keras.layers.InputLayer.__init__

    def policy(identifier: Any) -> Any:
        found = find(identifier)
        return keras.dtype_policies.DTypePolicy("float64") if found.compute_dtype in FLOATS else found

    def make_input_in_float64(self: Any, *shape: Any, dtype: Any = None, **options: Any) -> None:
        make_input(self, *shape, dtype="float64" if str(dtype) in FLOATS else dtype, **options)

    cast_tensor = ops.cast

    def cast(x: Any, dtype: Any) -> Any:
        # By way of float32, as Keras does it on TensorFlow and PyTorch, Adam's 0.999 would lose its last digits.
        return ops.convert_to_tensor(x, dtype=dtype) if isinstance(x, float) else cast_tensor(x, dtype)

    keras.config.set_floatx("float64")
    ops.cast = cast
    keras.config.set_dtype_policy("float64")
    dtype_policies.get = policy
    keras.layers.InputLayer.__init__ = make_input_in_float64
