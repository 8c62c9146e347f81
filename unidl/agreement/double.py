"""Make Keras compute in float64 throughout a process, whatever dtypes the layers request."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unidl.keras_internals import numpy_module, operation_module, policy_module, shortened_types, view_class
from unidl.layer_paths import walk
from unidl.standing_in import put

if TYPE_CHECKING:
    import keras

FLOATS = ("float32", "float16", "bfloat16")
MAKERS = ("arange", "eye", "full", "full_like", "identity", "linspace", "one_hot", "ones", "ones_like", "zeros")
MAKERS += ("zeros_like", "convert_to_tensor")
"""Operations that create tensors of a requested dtype. TensorFlow's operators do not mix dtypes."""


def compute_in_float64() -> None:
    """Replace every floating dtype that a layer, an input, a loss or an optimizer requests by float64 from now on.

    This affects the whole process; no layer may have been created before. Even an explicit float32 becomes float64,
    which no Keras setting can achieve.
    """
    import keras

    dtype_policies, ops = policy_module(), operation_module()
    find = dtype_policies.get
    make_input = keras.layers.InputLayer.__init__

    def policy(identifier: Any) -> Any:
        found = find(identifier)
        return keras.dtype_policies.DTypePolicy("float64") if found.compute_dtype in FLOATS else found

    # Not named `*shape`: Keras stores the arguments by name and would confuse it with the keyword `shape`.
    def make_input_in_float64(self: Any, *positional: Any, dtype: Any = None, **options: Any) -> None:
        make_input(self, *positional, dtype="float64" if str(dtype) in FLOATS else dtype, **options)

    # Keras computes products of float64 as float32 except on TensorFlow, and so it does the softmax of attention.
    shortened_types()["float64"] = "float64"
    put((ops, "dot_product_attention", attention))
    _cast_to_float64()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    put((dtype_policies, "get", policy), (keras.layers.InputLayer, "__init__", make_input_in_float64))


def _cast_to_float64() -> None:
    """Replace casts to float32, in Keras and in models, by casts to float64. Casts to a shorter dtype round in every
    precision, so they are kept."""
    import keras

    ops, numpy_of_backend, view_operation = operation_module(), numpy_module(), view_class()
    cast_tensor, view_tensor, viewed = ops.cast, numpy_of_backend.view, view_operation.compute_output_spec

    def cast(x: Any, dtype: Any) -> Any:
        dtype = "float64" if keras.backend.standardize_dtype(dtype) == "float32" else dtype
        # Converted through float32, as Keras does on TensorFlow and PyTorch, Adam's 0.999 would lose digits.
        return ops.convert_to_tensor(x, dtype=dtype) if isinstance(x, float) else cast_tensor(x, dtype)

    # Code that inspects the bits of a number expects float32.
    def view(x: Any, dtype: Any = None) -> Any:
        return view_tensor(cast_tensor(x, "float32") if _is_float64(x) else x, dtype)

    def view_spec(self: Any, x: Any) -> Any:
        return viewed(self, keras.KerasTensor(x.shape, "float32") if _is_float64(x) else x)

    casting = {"cast": cast} | {name: _made_in_float64(getattr(ops, name)) for name in MAKERS}
    put(*((owner, name, value) for name, value in casting.items() for owner in (ops, keras.ops)))
    put((numpy_of_backend, "view", view), (view_operation, "compute_output_spec", view_spec))


def _made_in_float64(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation with requests for float32 replaced by float64."""
    import keras

    arguments = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        given = arguments.bind(*args, **kwargs)
        dtype = given.arguments.get("dtype")
        if dtype is not None and keras.backend.standardize_dtype(dtype) == "float32":
            given.arguments["dtype"] = "float64"
        return make(*given.args, **given.kwargs)

    return made


def _is_float64(x: Any) -> bool:
    import keras

    return hasattr(x, "dtype") and keras.backend.standardize_dtype(x.dtype) == "float64"


def attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    **fast_ways: Any,
) -> Any:
    """Compute attention as defined by `keras.ops.dot_product_attention`, in the dtype of its inputs. query: (batch,
    queries, heads, size); key, value: (batch, keys, heads or fewer, size)."""
    import keras

    ops: Any = keras.ops
    if key.shape[2] != query.shape[2]:
        key, value = (ops.repeat(part, query.shape[2] // key.shape[2], axis=2) for part in (key, value))
    logits = ops.einsum("bqnh,bknh->bnqk", query, key) * (scale or query.shape[3] ** -0.5)
    if bias is not None:
        logits = logits + bias
    if is_causal:
        causal = ops.tril(ops.ones(logits.shape[-2:], dtype="bool"))
        mask = causal if mask is None else ops.logical_and(mask, causal)
    if mask is not None:
        logits = ops.where(mask, logits, -1e300)
    return ops.einsum("bnqk,bknh->bqnh", ops.softmax(logits), value)


def unroll(model: keras.Model) -> None:
    """Make recurrent layers run step by step in eager mode, which is faster than compiling each loop."""
    import keras

    for _, layer in walk(model):
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = True
