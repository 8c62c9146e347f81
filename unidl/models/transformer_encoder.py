"""The encoder that the builders of transformers share: tokens to one vector per step, and from steps to one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unidl.models.arguments import MOST_LAYERS, Arguments
from unidl.models.building import Tensor, dropout_layer
from unidl.random import derived_seed

POSITIONS = ("learned", "sines")
EPSILON = 1e-5
"""Epsilon of layer normalization, as in GPT-2. Keras's default, 1e-3, exceeds the initial variance of embeddings."""


@dataclass(frozen=True)
class Encoder:
    """Maps tokens to one vector each. Its fields are validated arguments of the builders."""

    vocabulary_size: int
    sequence_length: int | None
    units: int
    heads: int
    layers: int
    feedforward_units: int
    positions: str
    dropout: float
    seed: int

    def parameters(self) -> int:
        """Return the number of parameters of the encoder before it is built."""
        attention = 4 * (self.units + 1) * self.units
        feedforward = (2 * self.units + 1) * self.feedforward_units + self.units
        normalization = 2 * self.units
        places = (self.sequence_length or 0) if self.positions == "learned" else 0
        block = attention + feedforward + 2 * normalization
        return (self.vocabulary_size + places) * self.units + self.layers * block + normalization

    def encoded(self, policy: str, *, causal: bool, mask_padding: bool) -> tuple[Tensor, Tensor]:
        """Return the inputs (batch, time), and the encoded steps (batch, time, units)."""
        import keras

        from unidl.layers import AttentionMask, PositionEmbedding

        tokens = keras.Input((self.sequence_length,), name="tokens", dtype="int32")
        values = keras.layers.Embedding(self.vocabulary_size, self.units, dtype=policy, name="embedding")(tokens)
        places = self.sequence_length if self.positions == "learned" else None
        values = PositionEmbedding(places, dtype=policy, name="positions")(values)
        values = self._dropped(values, "dropout_0", policy)
        if mask_padding:
            told: dict[str, Any] = {"attention_mask": AttentionMask(causal, name="attention_mask")(tokens)}
        else:
            told = {"use_causal_mask": causal}
        for number in range(1, self.layers + 1):
            values = self._block(values, number, told, policy)
        return tokens, self._normalized(values, "normalization", policy)

    def _block(self, values: Tensor, number: int, told: dict[str, Any], policy: str) -> Tensor:
        """Apply attention and a feedforward network, each pre-normalized with a residual connection (Xiong et al. 2020,
        "On layer normalization in the transformer architecture")."""
        import keras

        def dense(units: int, name: str, activation: str | None = None) -> keras.layers.Layer:
            return keras.layers.Dense(units, activation=activation, dtype=policy, name=f"block_{number}_{name}")

        def beside(shortcut: Tensor, values: Tensor, name: str) -> Tensor:
            values = self._dropped(values, f"dropout_{number}_{name}", policy)
            return keras.layers.Add(dtype=policy, name=f"block_{number}_{name}_sum")([shortcut, values])

        attention = keras.layers.MultiHeadAttention(
            self.heads,
            self.units // self.heads,
            # Unused, but without a seed Keras would take one from Python's global random state.
            seed=derived_seed(self.seed, "dropout", f"block_{number}_attention"),
            dtype=policy,
            name=f"block_{number}_attention",
        )
        inner = self._normalized(values, f"block_{number}_attention_normalization", policy)
        values = beside(values, attention(inner, inner, **told), "attention")
        inner = self._normalized(values, f"block_{number}_feedforward_normalization", policy)
        inner = dense(self.feedforward_units, "expansion", "gelu")(inner)
        return beside(values, dense(self.units, "contraction")(inner), "feedforward")

    def _normalized(self, values: Tensor, name: str, policy: str) -> Tensor:
        import keras

        return keras.layers.LayerNormalization(epsilon=EPSILON, dtype=policy, name=name)(values)

    def _dropped(self, values: Tensor, name: str, policy: str) -> Tensor:
        return dropout_layer(self.dropout, self.seed, name, policy)(values) if self.dropout else values


def checked_encoder(
    asked: Arguments,
    vocabulary_size: Any,
    sequence_length: Any,
    units: Any,
    heads: Any,
    layers: Any,
    feedforward_units: Any,
    positions: Any,
    dropout: Any,
    seed: Any,
) -> Encoder:
    """Validate and record the arguments, and return the encoder."""
    vocabulary_size = asked.whole("vocabulary_size", vocabulary_size, minimum=2)
    sequence_length = asked.whole_or_none("sequence_length", sequence_length)
    units = asked.whole("units", units)
    heads = asked.whole("heads", heads)
    layers = asked.whole("layers", layers, maximum=MOST_LAYERS)
    feedforward_units = asked.whole_or_none("feedforward_units", feedforward_units)
    positions = asked.choice("positions", positions, POSITIONS)
    if units % heads:
        because = f"{units} units are divided equally among the heads; use a number that divides {units}"
        raise asked.refused("heads", heads, because)
    if sequence_length is None and positions == "learned":
        because = "learned positions need a fixed length; pass sequence_length, or positions='sines'"
        raise asked.refused("sequence_length", None, because)
    dropout = asked.fraction("dropout", dropout)
    seed = asked.seed(seed)
    feedforward_units = feedforward_units or 4 * units
    return Encoder(vocabulary_size, sequence_length, units, heads, layers, feedforward_units, positions, dropout, seed)


def one_vector(tokens: Tensor, steps: Tensor, output: str, mask_padding: bool, policy: str) -> Tensor:
    """Reduce the steps to one vector per row, of shape (batch, units)."""
    import keras

    from unidl.layers import TokenPooling

    if mask_padding:
        return TokenPooling(output, dtype=policy, name=output)(steps, tokens)
    if output == "average":
        return keras.layers.GlobalAveragePooling1D(data_format="channels_last", dtype=policy, name="average")(steps)
    return steps[:, -1]
