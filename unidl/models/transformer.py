"""Transformers for token sequences: language models, classifiers and regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unidl.models import made_up
from unidl.models.arguments import MOST_LAYERS, Arguments
from unidl.models.builder import Builder, Given, Reading, Recipe, Workload
from unidl.models.building import Tensor, dropout_layer, finish, layers_in, softmax_head
from unidl.random import derived_seed

if TYPE_CHECKING:
    import keras

OUTPUTS = ("last", "steps", "average")
POSITIONS = ("learned", "sines")
EPSILON = 1e-5
"""Epsilon of layer normalization, as in GPT-2. Keras's default, 1e-3, exceeds the initial variance of embeddings."""


def build_transformer(
    vocabulary_size: int = 1000,
    sequence_length: int | None = 20,
    *,
    units: int = 128,
    heads: int = 4,
    layers: int = 2,
    feedforward_units: int | None = None,
    causal: bool = True,
    positions: str = "learned",
    dropout: float = 0.0,
    output: str = "last",
    mask_padding: bool = False,
    classes: int | None = None,
    targets: int | None = None,
    precision: str | None = None,
    seed: int = 0,
    name: str = "transformer",
) -> keras.Model:
    """Build a transformer for token ids (batch, time).

    It gives probabilities of `classes`, by default of the next token out of the vocabulary; or, with `targets`, that
    many unbounded numbers for a regression. Each of its `layers` is a pre-norm block: attention, then a dense layer
    with GELU and one back to `units`, each behind a layer normalization and beside a shortcut.

    Args:
        vocabulary_size: Number of different tokens, at least 2.
        sequence_length: Steps per row; None for any length, which needs positions="sines"; they go up to 4096 steps.
        units: The size of the vector of each step; `heads` must divide it.
        heads: Number of heads of each attention.
        layers: Number of blocks, at most 32.
        feedforward_units: The units of the dense layer with GELU. If None, 4 times `units`.
        causal: Whether a step sees only those before it; without, output="steps" is wrong for predicting the next
            token.
        positions: "learned" vectors, one per position, or "sines".
        dropout: Fraction to drop of the embeddings and of the outputs of each attention and each feedforward layer; at
            least 0 and below 1.
        output: "last" gives (batch, classes) after the last step, "average" after the average of the steps, "steps"
            gives (batch, time, classes).
        mask_padding: Whether nothing sees steps whose token is 0, and the last step is that of the last other token; on
            a GPU this may rule out the fast kernels.
        classes: Number of classes, at least 2. If None, the tokens of the vocabulary.
        targets: Number of values to predict, instead of probabilities.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled.

    Raises:
        ModelError: If such a network cannot exist.
        PrecisionError: If the precision is unknown, or the device cannot compute in it.

    Examples:
        >>> import unidl
        >>> model = unidl.build_transformer(vocabulary_size=12, sequence_length=6, units=8, heads=2, layers=1)
        >>> model.input_shape, model.output_shape
        ((None, 6), (None, 12))
    """
    asked = Arguments("build_transformer")
    encoder = _checked_encoder(
        asked, vocabulary_size, sequence_length, units, heads, layers, feedforward_units, positions, dropout, seed
    )
    causal = asked.flag("causal", causal)
    output = asked.choice("output", output, OUTPUTS)
    mask_padding = asked.flag("mask_padding", mask_padding)
    classes = asked.whole_or_none("classes", classes, minimum=2)
    targets = asked.whole_or_none("targets", targets)
    if classes is not None and targets is not None:
        because = f"classes={classes} asks for probabilities instead; leave one out"
        raise asked.refused("targets", targets, because)
    precision = asked.precision(precision)
    name = asked.model_name(name)
    outputs = classes or targets or encoder.vocabulary_size
    asked.refuse_too_large(encoder.parameters() + (units + 1) * outputs)

    with layers_in(precision) as policy:
        import keras

        tokens, steps = encoder.encoded(policy, causal=causal, mask_padding=mask_padding)
        values = steps if output == "steps" else _one_vector(tokens, steps, output, mask_padding, policy)
        if targets is None:
            values = softmax_head(values, outputs, policy)
        else:
            values = keras.layers.Dense(targets, dtype="float32", name="predictions")(values)
        return finish(keras.Model(tokens, values, name=name), "transformer", asked.values)


def build_text_classifier(
    vocabulary_size: int = 1000,
    classes: int = 10,
    sequence_length: int | None = 64,
    *,
    units: int = 64,
    heads: int = 4,
    layers: int = 1,
    feedforward_units: int | None = None,
    positions: str = "learned",
    dropout: float = 0.0,
    precision: str | None = None,
    seed: int = 0,
    name: str = "text_classifier",
) -> keras.Model:
    """Build a classifier of texts, which are token ids (batch, time).

    A transformer whose steps see all others, earlier and later, and the average of what they give. Padding, token 0, is
    seen by no step and counts for nothing: it may come before or after a text.

    Args:
        vocabulary_size: As in `build_transformer`.
        classes: Number of classes, at least 2.
        sequence_length: As in `build_transformer`.
        units: As in `build_transformer`.
        heads: As in `build_transformer`.
        layers: As in `build_transformer`.
        feedforward_units: As in `build_transformer`.
        positions: As in `build_transformer`.
        dropout: As in `build_transformer`.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled. It gives probabilities (batch, classes).

    Raises:
        ModelError: If such a network cannot exist.
        PrecisionError: If the precision is unknown, or the device cannot compute in it.

    Examples:
        >>> import unidl
        >>> model = unidl.build_text_classifier(vocabulary_size=12, classes=3, sequence_length=6, units=8, heads=2)
        >>> model.output_shape
        (None, 3)
    """
    asked = Arguments("build_text_classifier")
    classes = asked.whole("classes", classes, minimum=2)
    encoder = _checked_encoder(
        asked, vocabulary_size, sequence_length, units, heads, layers, feedforward_units, positions, dropout, seed
    )
    precision = asked.precision(precision)
    name = asked.model_name(name)
    asked.refuse_too_large(encoder.parameters() + (units + 1) * classes)

    with layers_in(precision) as policy:
        import keras

        tokens, steps = encoder.encoded(policy, causal=False, mask_padding=True)
        values = softmax_head(_one_vector(tokens, steps, "average", True, policy), classes, policy)
        return finish(keras.Model(tokens, values, name=name), "text-classifier", asked.values)


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


def _checked_encoder(
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


def _one_vector(tokens: Tensor, steps: Tensor, output: str, mask_padding: bool, policy: str) -> Tensor:
    """Reduce the steps to one vector per row, of shape (batch, units)."""
    import keras

    from unidl.layers import TokenPooling

    if mask_padding:
        return TokenPooling(output, dtype=policy, name=output)(steps, tokens)
    if output == "average":
        return keras.layers.GlobalAveragePooling1D(data_format="channels_last", dtype=policy, name="average")(steps)
    return steps[:, -1]


def _first_of_head(given: Given) -> str:
    return "logits" if given.get("targets") is None else "predictions"


def _reading(given: Given) -> Reading:
    output, causal = given.get("output", "last"), given.get("causal", True)
    if given.get("mask_padding"):
        return Reading(pads=True, every_step=None)
    return Reading(pads=causal and output != "average", every_step={"output": "steps"})


def _compared(build: Callable[..., keras.Model]) -> Callable[[str], keras.Model]:
    return lambda precision: build(precision=precision)


TRANSFORMER = Builder(
    name="transformer",
    build=build_transformer,
    task="language model",
    from_data=("vocabulary_size", "sequence_length"),
    recipe=Recipe("python-docs", epochs=2, batch_size=128, learning_rate=1e-3, schedule="cosine"),
    head=_first_of_head,
    smallest_head=lambda given: {"classes": 2} if given.get("targets") is None else {"targets": 1},
    reading=_reading,
    workload=Workload(
        "transformer",
        "2 causal blocks of 128 units and 4 heads, 1 000 words, 20 steps, 656 360 parameters",
        build=_compared(build_transformer),
        data=made_up.words(20),
        rows=1024,
    ),
)

TEXT_CLASSIFIER = Builder(
    name="text-classifier",
    build=build_text_classifier,
    task="text classifier",
    from_data=("vocabulary_size", "classes", "sequence_length"),
    recipe=Recipe("python-topics", epochs=10, batch_size=64, learning_rate=1e-3, schedule="cosine"),
    head=lambda given: "logits",
    smallest_head=lambda given: {"classes": 2},
    workload=Workload(
        "text-classifier",
        "a block of 64 units and 4 heads that masks padding, 1 000 words, 64 steps, 118 858 parameters",
        build=_compared(build_text_classifier),
        data=made_up.words(64, classes=10),
        rows=1024,
    ),
)
