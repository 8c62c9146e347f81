"""Initial weights drawn from unidl's random stream, bit-identical on every backend."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.errors import ModelError
from unidl.keras_internals import has_value
from unidl.layer_paths import named_weights, walk
from unidl.random import stream
from unidl.standing_in import standing_in

if TYPE_CHECKING:
    import keras

building = threading.RLock()
"""Held while Keras functions are replaced, since this affects every thread."""


def initialise(model: keras.Model, seed: int, *, skip: Collection[keras.layers.Layer] = ()) -> None:
    """Redraw every random initial weight of a built model from `seed` and the weight's position in the model.

    The distribution is that of the layer's Keras initializer; the initializer's own seed is not used. Weights that
    begin as constants stay as they are, and so do those of the layers in `skip`. Two equal models get equal weights, on
    any backend and in any process.

    Args:
        model: The model, which is built already.
        seed: The seed that all weights are drawn from.
        skip: Layers whose weights stay as they are.

    Raises:
        ModelError: If the model has no weights yet, or if a weight is random and its distribution is unknown.

    Examples:
        >>> from unidl.models import initialise
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> initialise(model, seed=0)
        >>> [round(float(value), 4) for value in model.get_weights()[0][:, 0]]
        [0.6313, -0.5471]
    """
    if not model.built:
        raise ModelError(
            f"Cannot initialise the model '{model.name}': it has not been built.\n"
            "Call it on a batch, or add a keras.Input, first."
        )
    skipped = {id(weight) for layer in skip for weight in layer.weights}
    owners = {id(weight): layer for _, layer in walk(model) for weight in layer.weights}
    for path, weight in named_weights(model).items():
        if id(weight) in skipped or not has_value(weight):  # without a value in models of which only shapes are read
            continue
        layer = owners[id(weight)]
        initializer = _initializer(layer, weight)
        if initializer is not None:
            weight.assign(_values(initializer, layer, weight, stream(seed, "initial", path)))
        elif not _begins_constant(layer, weight):
            raise ModelError(
                f"Cannot initialise the weight '{weight.name}' of the {type(layer).__name__} '{layer.name}': "
                "it is random, but its Keras initializer is unknown.\n"
                f"Store the initializer as the layer's attribute '{weight.name}_initializer', or pass the layer in "
                "skip= to let Keras draw its weights, which then differ between backends."
            )


@contextmanager
def drawn_later() -> Iterator[None]:
    """Make Keras's random initializers return NaN in this thread; `initialise` or a file supplies the values.

    JAX compiles a program for every shape it draws, 14 s for VGG16 and 30 s for MobileNetV2 on two cores
    (Keras 3.15.1, jax 0.10.2), for values that are discarded. Without drawing, both take under 1 s.
    """
    import keras

    with building:
        drawing: tuple[Any, ...] = (
            keras.initializers.RandomNormal,
            keras.initializers.TruncatedNormal,
            keras.initializers.RandomUniform,
            keras.initializers.VarianceScaling,
            keras.initializers.Orthogonal,
        )
        thread = threading.get_ident()
        with standing_in(*((kind, "__call__", _placeholder_for(kind.__call__, thread)) for kind in drawing)):
            yield


def _placeholder_for(draw: Callable[..., Any], thread: int) -> Callable[..., Any]:
    """Return the replacement of the method `draw` of an initializer; other threads still draw."""
    import keras

    def call(self: Any, shape: Any, dtype: Any = None) -> Any:
        if threading.get_ident() != thread:
            return draw(self, shape, dtype=dtype)
        return keras.ops.convert_to_tensor(np.full(shape, np.nan, dtype="float32"), dtype=dtype)

    return call


def _initializer(layer: keras.layers.Layer, weight: keras.Variable) -> Any:
    """Return the random Keras initializer of a weight; None if it is constant or unknown."""
    import keras
    from keras.initializers import GlorotUniform, TruncatedNormal, VarianceScaling

    from unidl.models.initializers import RANDOM

    # Two layers of Keras 3.15.1 define the initializer of a weight only in their code.
    hidden = {
        (keras.layers.AdditiveAttention, "scale"): GlorotUniform(seed=0),
        (keras.layers.SpectralNormalization, "vector_u"): TruncatedNormal(stddev=0.02, seed=0),
    }
    initializer = hidden.get((type(layer), weight.name)) or _attribute(layer, weight.name)
    if type(initializer) not in RANDOM:
        return None
    if isinstance(layer, keras.layers.EinsumDense) and isinstance(initializer, VarianceScaling):
        return _with_einsum_axes(initializer, layer.equation)
    return initializer


def _attribute(layer: keras.layers.Layer, weight_name: str) -> Any:
    """Return the layer's initializer of a weight, such as `recurrent_initializer` for "recurrent_kernel"."""
    names = [weight_name, weight_name.removesuffix("_kernel"), weight_name.removeprefix("reverse_")]
    if weight_name == "kernel":
        names.append("depthwise")  # of DepthwiseConv1D and 2D
    for name in names:
        initializer = getattr(layer, f"{name}_initializer", None)
        if initializer is not None:
            return initializer
    return None


def _with_einsum_axes(initializer: Any, equation: str) -> Any:
    """Return the initializer as EinsumDense uses it: its outputs are the kernel axes that are not contracted."""
    if initializer.input_axes is not None and initializer.output_axes is not None:
        return initializer
    operands, output = equation.replace("...", "").split("->")
    kernel = operands.split(",")[1]
    axes = {True: [], False: []}
    for axis, label in enumerate(kernel):
        axes[label in output].append(axis)
    config = initializer.get_config() | {"seed": 0, "input_axes": axes[False], "output_axes": axes[True]}
    return type(initializer).from_config(config)


def _values(
    initializer: Any, layer: keras.layers.Layer, weight: keras.Variable, generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    from unidl.models.initializers import draw

    values = draw(initializer, weight.shape, generator)
    # The forget gate starts open, as in Keras: Jozefowicz et al. 2015, "An empirical exploration of RNNs".
    if weight.name == "bias" and getattr(layer, "unit_forget_bias", False):
        gate = values.size // 4
        values[gate : 2 * gate] = 1
    return values


def _begins_constant(layer: keras.layers.Layer, weight: keras.Variable) -> bool:
    """Return whether a weight without a random initializer is constant. A single value might be drawn."""
    import keras

    from unidl.models.initializers import CONSTANT

    if isinstance(_attribute(layer, weight.name), CONSTANT) or "float" not in weight.dtype:
        return True
    size = math.prod(weight.shape)
    if size == 0:
        return True
    ops: Any = keras.ops
    lowest, highest = (float(ops.convert_to_numpy(find(weight.value))) for find in (ops.min, ops.max))
    return lowest == highest and (size > 1 or lowest in (0, 1))
