"""Transformers for token sequences: language models, classifiers and regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.models import made_up
from unidl.models.arguments import Arguments
from unidl.models.builder import Builder, Given, Reading, Recipe, Workload
from unidl.models.building import finish, layers_in, softmax_head
from unidl.models.transformer_encoder import checked_encoder, one_vector

if TYPE_CHECKING:
    import keras

OUTPUTS = ("last", "steps", "average")


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
    encoder = checked_encoder(
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
        values = steps if output == "steps" else one_vector(tokens, steps, output, mask_padding, policy)
        if targets is None:
            values = softmax_head(values, outputs, policy)
        else:
            values = keras.layers.Dense(targets, dtype="float32", name="predictions")(values)
        return finish(keras.Model(tokens, values, name=name), "transformer", asked.values)


def _first_of_head(given: Given) -> str:
    return "logits" if given.get("targets") is None else "predictions"


def _reading(given: Given) -> Reading:
    output, causal = given.get("output", "last"), given.get("causal", True)
    if given.get("mask_padding"):
        return Reading(pads=True, every_step=None)
    return Reading(pads=causal and output != "average", every_step={"output": "steps"})


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
        build=lambda precision: build_transformer(precision=precision),
        data=made_up.words(20),
        rows=1024,
    ),
)
