"""What a transformer needs beside attention: the place of each token, which tokens it may see, one vector for a row.

Token 0 is padding, as everywhere in unidl.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np

from unidl.errors import ModelError
from unidl.layers.draws import ops

LONGEST = 4096
"""Steps of a sequence whose places are told by sines."""


@keras.saving.register_keras_serializable("unidl")
class PositionEmbedding(keras.layers.Layer):
    """Add a vector that encodes its position to each step of a sequence (batch, time, size).

    Args:
        length: Number of positions whose vectors are learned, and the maximum length of a sequence; None for sines and
            cosines of different periods (Vaswani et al. 2017, "Attention is all you need", section 3.5), up to 4096
            steps.
        embeddings_initializer: Keras's initializer of the vectors that are learned.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If a sequence is longer.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> layer = layers.PositionEmbedding()
        >>> print(keras.ops.convert_to_numpy(layer(np.zeros((1, 2, 4)))).round(4))
        [[[0.     1.     0.     1.    ]
          [0.8415 0.5403 0.01   1.    ]]]
    """

    def __init__(self, length: int | None = None, embeddings_initializer: Any = "uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.supports_masking = True

    @property
    def longest_sequence(self) -> int:
        """Maximum number of steps; an exporter that writes a free length needs it."""
        return self.length or LONGEST

    def build(self, input_shape: Any) -> None:
        if self.length is not None:
            self.embeddings = self.add_weight(
                name="embeddings", shape=(self.length, input_shape[-1]), initializer=self.embeddings_initializer
            )

    def call(self, inputs: Any) -> Any:
        steps, size = ops.shape(inputs)[1], inputs.shape[-1]
        longest = self.longest_sequence
        if isinstance(steps, int) and steps > longest:
            raise ModelError(
                f"The layer '{self.name}' tells {longest} places apart, and the sequence has {steps} steps."
            )
        if self.length is not None:
            places = ops.convert_to_tensor(self.embeddings)[:steps]
        elif isinstance(steps, int):
            places = ops.convert_to_tensor(_sines(size)[:steps], dtype=inputs.dtype)
        else:
            places = ops.convert_to_tensor(_sines(size), dtype=inputs.dtype)[:steps]
        return inputs + ops.cast(places, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.embeddings_initializer)
        return super().get_config() | {"length": self.length, "embeddings_initializer": initializer}


@cache
def _sines(size: int) -> np.ndarray:
    """(LONGEST, size), in float64 by NumPy: those of frameworks differ in the last bits, and more for large angles."""
    periods = 10000.0 ** (np.arange(0, size, 2) / size)
    angles = np.arange(LONGEST)[:, None] / periods
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(LONGEST, -1)[:, :size]


@keras.saving.register_keras_serializable("unidl")
class AttentionMask(keras.layers.Layer):
    """Return which tokens attend to which, booleans (batch, time, time), for tokens (batch, time).

    No step sees padding, but each step sees itself: a row that sees nothing would be NaN on one backend and 0 on
    another.

    Args:
        causal: Whether, besides, each step sees only itself and earlier steps.
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> mask = layers.AttentionMask(causal=True)(np.array([[5, 7, 0]]))
        >>> print(keras.ops.convert_to_numpy(mask).astype(int))
        [[[1 0 0]
          [1 1 0]
          [1 1 1]]]
    """

    def __init__(self, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.causal = causal

    def call(self, tokens: Any) -> Any:
        places = ops.arange(ops.shape(tokens)[1], dtype="int32")
        one, other = places[:, None], places[None, :]
        seen = ops.logical_or(ops.not_equal(tokens, 0)[:, None, :], ops.equal(one, other))
        return ops.logical_and(seen, ops.greater_equal(one, other)) if self.causal else seen

    def compute_output_spec(self, tokens: Any) -> Any:
        return keras.KerasTensor((*tokens.shape, tokens.shape[1]), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"causal": self.causal}


@keras.saving.register_keras_serializable("unidl")
class TokenPooling(keras.layers.Layer):
    """Reduce the steps (batch, time, size) of each row to one vector, by its tokens (batch, time).

    That of the last token that is not padding, or the average over all that are not. A row of padding alone gives
    zeros.

    Args:
        kind: "last" or "average".
        **kwargs (Any): Arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ModelError: If the kind is anything else.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> import numpy as np
        >>> steps, tokens = np.array([[[1.0], [3.0], [9.0]]]), np.array([[5, 7, 0]])
        >>> print(keras.ops.convert_to_numpy(layers.TokenPooling("average")(steps, tokens)))
        [[2.]]
    """

    def __init__(self, kind: str = "average", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in ("last", "average"):
            raise ModelError(f"Cannot use TokenPooling(kind={kind!r}): it must be one of 'last', 'average'.")
        self.kind = kind

    def call(self, steps: Any, tokens: Any) -> Any:
        real = ops.not_equal(tokens, 0)
        if self.kind == "last":
            count = ops.cumsum(ops.cast(real, "int32"), axis=1)
            last = ops.logical_and(real, ops.equal(count, count[:, -1:]))
            return ops.sum(ops.where(last[..., None], steps, ops.zeros((), dtype=steps.dtype)), axis=1)
        # In float32: bfloat16 cannot count further than 256.
        weights = ops.cast(real, "float32")[..., None]
        total = ops.sum(ops.cast(steps, "float32") * weights, axis=1)
        return ops.cast(total / ops.maximum(ops.sum(weights, axis=1), 1.0), self.compute_dtype)

    def compute_output_spec(self, steps: Any, tokens: Any) -> Any:
        return keras.KerasTensor((steps.shape[0], steps.shape[-1]), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kind": self.kind}
