"""Classifiers of texts: a transformer encoder, and the average of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.models import made_up
from unidl.models.arguments import Arguments
from unidl.models.builder import Builder, Recipe, Workload
from unidl.models.building import finish, layers_in, softmax_head
from unidl.models.transformer_encoder import checked_encoder, one_vector

if TYPE_CHECKING:
    import keras


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
    encoder = checked_encoder(
        asked, vocabulary_size, sequence_length, units, heads, layers, feedforward_units, positions, dropout, seed
    )
    precision = asked.precision(precision)
    name = asked.model_name(name)
    asked.refuse_too_large(encoder.parameters() + (units + 1) * classes)

    with layers_in(precision) as policy:
        import keras

        tokens, steps = encoder.encoded(policy, causal=False, mask_padding=True)
        values = softmax_head(one_vector(tokens, steps, "average", True, policy), classes, policy)
        return finish(keras.Model(tokens, values, name=name), "text-classifier", asked.values)


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
        build=lambda precision: build_text_classifier(precision=precision),
        data=made_up.words(64, classes=10),
        rows=1024,
    ),
)
