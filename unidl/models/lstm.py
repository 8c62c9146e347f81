"""A recurrent network for token sequences and for series of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidl.models import made_up
from unidl.models.arguments import MOST_LAYERS, Arguments
from unidl.models.builder import Builder, Given, Reading, Recipe, Workload
from unidl.models.building import Tensor, dropout_layer, finish, layers_in, softmax_head
from unidl.random import derived_seed

if TYPE_CHECKING:
    import keras

CELLS = ("lstm", "gru")
OUTPUTS = ("last", "steps")


def build_lstm(
    vocabulary_size: int | None = 1000,
    sequence_length: int | None = 20,
    *,
    units: int = 128,
    embedding_size: int = 128,
    layers: int = 1,
    cell: str = "lstm",
    bidirectional: bool = False,
    dropout: float = 0.0,
    output: str = "last",
    mask_padding: bool = False,
    features: int | None = None,
    classes: int | None = None,
    targets: int | None = None,
    precision: str | None = None,
    seed: int = 0,
    name: str = "lstm",
) -> keras.Model:
    """Build a recurrent network for token ids (batch, time), or for measurements (batch, time, features).

    It gives probabilities of `classes`, by default of the next token out of the vocabulary; or, with `targets`, that
    many unbounded numbers for a regression. With `features` the model has neither vocabulary nor embedding, and needs
    `classes` or `targets`.

    Args:
        vocabulary_size: Number of different tokens, at least 2; None with `features`.
        sequence_length: Steps per row; None for any length.
        units: The units of each recurrent layer.
        embedding_size: The size of the vector of each token.
        layers: Number of recurrent layers, at most 32.
        cell: "lstm", or "gru" with Keras's `reset_after`.
        bidirectional: Whether a second network reads backwards, and both outputs are joined; with output="steps" every
            step then knows the later ones, which is wrong for predicting the next token.
        dropout: Fraction to drop of the embeddings and of the outputs of each recurrent layer; at least 0 and below 1.
        output: "last" gives (batch, classes) after the last step, "steps" gives (batch, time, classes).
        mask_padding: Whether to skip steps whose token is 0, or whose features are all 0; on a GPU this may rule out
            the fast kernels.
        features: Number of measurements per step. If None, the inputs are tokens.
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
        >>> model = unidl.build_lstm(vocabulary_size=12, sequence_length=6, units=8, embedding_size=4)
        >>> model.input_shape, model.output_shape
        ((None, 6), (None, 12))
        >>> model = unidl.build_lstm(None, 6, features=3, targets=2, units=8, output="steps")
        >>> model.input_shape, model.output_shape
        ((None, 6, 3), (None, 6, 2))
    """
    asked = Arguments("build_lstm")
    sequence_length = asked.whole_or_none("sequence_length", sequence_length)
    units = asked.whole("units", units)
    embedding_size = asked.whole("embedding_size", embedding_size)
    layers = asked.whole("layers", layers, maximum=MOST_LAYERS)
    cell = asked.choice("cell", cell, CELLS)
    bidirectional = asked.flag("bidirectional", bidirectional)
    dropout = asked.fraction("dropout", dropout)
    output = asked.choice("output", output, OUTPUTS)
    mask_padding = asked.flag("mask_padding", mask_padding)
    features = asked.whole_or_none("features", features)
    vocabulary_size = _vocabulary_size(asked, vocabulary_size, features)
    classes, targets = _head(asked, classes, targets, vocabulary_size)
    precision = asked.precision(precision)
    seed = asked.seed(seed)
    name = asked.model_name(name)
    recurrent = recurrent_parameters(features or embedding_size, units, layers, cell, bidirectional)
    outputs = (units * (2 if bidirectional else 1) + 1) * (classes or targets or 0)
    asked.refuse_too_large((vocabulary_size or 0) * embedding_size + recurrent + outputs)

    with layers_in(precision) as policy:
        import keras

        inputs, values = _steps(vocabulary_size, embedding_size, sequence_length, features, mask_padding, policy)
        # As separate layers: dropout inside a recurrent layer prevents the frameworks' fast kernels.
        if dropout and vocabulary_size is not None:
            values = dropout_layer(dropout, seed, "dropout_0", policy)(values)
        for number in range(1, layers + 1):
            every_step = output == "steps" or number < layers
            values = _recurrent(cell, units, every_step, bidirectional, seed, number, policy)(values)
            if dropout:
                values = dropout_layer(dropout, seed, f"dropout_{number}", policy)(values)
        if classes is not None:
            values = softmax_head(values, classes, policy)
        else:
            values = keras.layers.Dense(targets, dtype="float32", name="predictions")(values)
        return finish(keras.Model(inputs, values, name=name), "lstm", asked.values)


def recurrent_parameters(inputs: int, units: int, layers: int, cell: str, bidirectional: bool) -> int:
    """Return the number of parameters of the recurrent layers. inputs: size of their input vectors."""
    total = 0
    for _ in range(layers):
        # A GRU with reset_after has a second bias, inside the reset gate.
        gates, biases = (4, 1) if cell == "lstm" else (3, 2)
        directions = 2 if bidirectional else 1
        total += directions * gates * units * (inputs + units + biases)
        inputs = directions * units
    return total


def _vocabulary_size(asked: Arguments, vocabulary_size: int | None, features: int | None) -> int | None:
    """Return the size of the vocabulary; None if the inputs are measurements. The default counts as not given."""
    size = asked.whole_or_none("vocabulary_size", vocabulary_size, minimum=2)
    if features is None:
        if size is None:
            because = "pass the number of different tokens, or features= for measurements"
            raise asked.refused("vocabulary_size", None, because)
        return size
    if size not in (None, 1000):
        because = f"with features={features} the inputs are measurements, not tokens; leave one of the two out"
        raise asked.refused("vocabulary_size", size, because)
    asked.values["vocabulary_size"] = None
    return None


def _head(
    asked: Arguments, classes: int | None, targets: int | None, vocabulary_size: int | None
) -> tuple[int | None, int | None]:
    """Return the numbers of classes and of targets; one of the two is None."""
    classes = asked.whole_or_none("classes", classes, minimum=2)
    targets = asked.whole_or_none("targets", targets)
    if classes is not None and targets is not None:
        because = f"classes={classes} asks for probabilities instead; leave one out"
        raise asked.refused("targets", targets, because)
    if classes is None and targets is None:
        if vocabulary_size is None:
            because = "with features=, pass classes= for probabilities or targets= for numbers"
            raise asked.refused("classes", None, because)
        return vocabulary_size, None
    return classes, targets


def _steps(
    vocabulary_size: int | None,
    embedding_size: int,
    sequence_length: int | None,
    features: int | None,
    mask_padding: bool,
    policy: str,
) -> tuple[Tensor, Tensor]:
    """Return the inputs, and the input of the first recurrent layer, of shape (batch, time, size)."""
    import keras

    if vocabulary_size is None:
        series = keras.Input((sequence_length, features), name="series", dtype="float32")
        if not mask_padding:
            return series, series
        return series, keras.layers.Masking(0.0, dtype=policy, name="mask")(series)
    tokens = keras.Input((sequence_length,), name="tokens", dtype="int32")
    embedding = keras.layers.Embedding(
        vocabulary_size, embedding_size, mask_zero=mask_padding, dtype=policy, name="embedding"
    )
    return tokens, embedding(tokens)


def _recurrent(
    cell: str, units: int, every_step: bool, bidirectional: bool, seed: int, number: int, policy: str
) -> keras.layers.Layer:
    """Return a recurrent layer that outputs every step or only the last one."""
    import keras

    name = f"{cell}_{number}"
    kind = keras.layers.LSTM if cell == "lstm" else keras.layers.GRU
    # Unused, but without a seed Keras would take one from Python's global random state.
    unused_seed = derived_seed(seed, "dropout", name)
    layer = kind(units, return_sequences=every_step, seed=unused_seed, dtype=policy, name=name)
    if bidirectional:
        return keras.layers.Bidirectional(layer, dtype=policy, name=f"bidirectional_{number}")
    return layer


def _reading(given: Given) -> Reading:
    pads = not given.get("bidirectional")
    return Reading(pads, every_step=None if given.get("mask_padding") else {"output": "steps"})


LSTM = Builder(
    name="lstm",
    build=build_lstm,
    task="language model",
    from_data=("vocabulary_size", "sequence_length"),
    recipe=Recipe("python-docs", epochs=2, batch_size=128, learning_rate=4e-3, schedule="cosine"),
    head=lambda given: "logits" if given.get("targets") is None else "predictions",
    smallest_head=lambda given: {"classes": 2} if given.get("targets") is None else {"targets": 1},
    reading=_reading,
    workload=Workload(
        "lstm",
        "LSTM of 128 units, 1 000 words, 20 steps, 388 584 parameters",
        build=lambda precision: build_lstm(precision=precision),
        data=made_up.words(20),
        rows=4096,
    ),
)
