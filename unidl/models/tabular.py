"""A network for tables: numbers, which it scales, and categories, each with a vector of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.models import made_up
from unidl.models.arguments import Arguments
from unidl.models.builder import FACTS_OF_TABLES, Builder, Recipe, Workload
from unidl.models.building import Tensor, dropout_layer, finish, layers_in, softmax_head

if TYPE_CHECKING:
    import keras


def build_tabular(
    means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    deviations: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    categories: Sequence[int] = (),
    classes: int | None = 10,
    *,
    target_mean: float = 0.0,
    target_deviation: float = 1.0,
    units: Sequence[int] = (64, 64),
    embedding_size: int = 8,
    dropout: float = 0.0,
    precision: str | None = None,
    seed: int = 0,
    name: str = "tabular",
) -> keras.Model:
    """Build a network for the rows of a table, with numbers (batch, numbers) and categories (batch, categories).

    Numbers are scaled and each category is embedded, inside the model; dense layers with ReLU follow. What
    `load_data` learns of a table gives the arguments: `build_tabular(**data.table.arguments())`. The input is an array
    if there are only numbers or only categories, else a dict of "numbers" and "categories".

    Args:
        means: The mean of each column of numbers, which is subtracted; empty if there are none.
        deviations: The standard deviation of each, above 0, by which it is divided.
        categories: How many words each column of categories has, the unknown one included. They are counted on: those
            of the second column begin behind those of the first.
        classes: Number of classes, at least 2. If None, the model predicts a number, (batch, 1).
        target_mean: The mean of that number in the training rows, at which predictions begin.
        target_deviation: Its standard deviation, which scales predictions.
        units: The units of each dense layer.
        embedding_size: The size of the vector of each word.
        dropout: Fraction of the outputs of each dense layer to drop; at least 0 and below 1.
        precision: Precision of the layers, such as "float32" or "mixed_bfloat16". If None, UNIDL_PRECISION, then
            Keras's own dtype policy. The scales are in float32.
        seed: Determines the initial weights and the dropout masks, which are the same on every backend.
        name: The name of the model.

    Returns:
        The model, not compiled. It gives probabilities (batch, classes), or the number.

    Raises:
        ModelError: If such a network cannot exist.
        PrecisionError: If the precision is unknown, or the device cannot compute in it.

    Examples:
        >>> import unidl
        >>> model = unidl.build_tabular([50.0, 1.7], [10.0, 0.1], categories=[3, 4], classes=2, units=(8,))
        >>> sorted(given.name for given in model.inputs), model.output_shape
        (['categories', 'numbers'], (None, 2))
    """
    asked = Arguments("build_tabular")
    means = asked.numbers("means", means)
    deviations = asked.scales("deviations", deviations)
    categories = asked.counts("categories", categories)
    classes = asked.whole_or_none("classes", classes, minimum=2)
    (target_mean,) = asked.numbers("target_mean", [target_mean])
    (target_deviation,) = asked.scales("target_deviation", [target_deviation])
    asked.values |= {"target_mean": target_mean, "target_deviation": target_deviation}
    units = asked.wholes("units", units)
    embedding_size = asked.whole("embedding_size", embedding_size)
    dropout = asked.fraction("dropout", dropout)
    precision = asked.precision(precision)
    seed = asked.seed(seed)
    name = asked.model_name(name)
    if len(deviations) != len(means):
        raise asked.refused("deviations", list(deviations), f"there are {len(means)} means, and each needs one")
    if not means and not categories:
        raise asked.refused("means", [], "there must be a column of numbers or of categories")
    asked.refuse_too_large(parameters(len(means), categories, classes or 1, units, embedding_size))

    with layers_in(precision) as policy:
        import keras

        inputs, values = _columns(means, deviations, categories, embedding_size, policy)
        for number, count in enumerate(units, start=1):
            values = keras.layers.Dense(count, activation="relu", dtype=policy, name=f"dense_{number}")(values)
            if dropout:
                values = dropout_layer(dropout, seed, f"dropout_{number}", policy)(values)
        if classes is not None:
            outputs = softmax_head(values, classes, policy)
        else:
            outputs = keras.layers.Dense(1, dtype="float32", name="scaled")(values)
            outputs = keras.layers.Rescaling(target_deviation, target_mean, dtype="float32", name="predictions")(
                outputs
            )
        given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        return finish(keras.Model(given, outputs, name=name), "tabular", asked.values)


def parameters(numbers: int, categories: Sequence[int], outputs: int, units: Sequence[int], embedding_size: int) -> int:
    """Return the number of parameters of the network before it is built."""
    total = sum(categories) * embedding_size
    size = numbers + len(categories) * embedding_size
    for count in (*units, outputs):
        total += (size + 1) * count
        size = count
    return total


def _columns(
    means: Sequence[float], deviations: Sequence[float], categories: Sequence[int], embedding_size: int, policy: str
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the inputs by name, and the input of the first dense layer, of shape (batch, size)."""
    import keras

    inputs: dict[str, Tensor] = {}
    parts: list[Tensor] = []
    if means:
        inputs["numbers"] = keras.Input((len(means),), name="numbers", dtype="float32")
        variances = [deviation**2 for deviation in deviations]
        scaling = keras.layers.Normalization(mean=list(means), variance=variances, dtype="float32", name="scaling")
        parts.append(scaling(inputs["numbers"]))
    if categories:
        inputs["categories"] = keras.Input((len(categories),), name="categories", dtype="int32")
        # One table for all columns, whose words are counted on: one lookup instead of one for each column.
        embedding = keras.layers.Embedding(sum(categories), embedding_size, dtype=policy, name="embedding")
        vectors = embedding(inputs["categories"])
        parts.append(keras.layers.Flatten(data_format="channels_last", dtype=policy, name="flatten")(vectors))
    values = parts[0] if len(parts) == 1 else keras.layers.Concatenate(dtype=policy, name="columns")(parts)
    return inputs, values


TABULAR = Builder(
    name="tabular",
    build=build_tabular,
    task="table",
    from_data=(*FACTS_OF_TABLES, "classes"),
    recipe=Recipe("wine", epochs=50, batch_size=32, learning_rate=2e-3, schedule="cosine"),
    head=lambda given: "scaled" if given.get("classes", 10) is None else "logits",
    smallest_head=lambda given: {} if given.get("classes", 10) is None else {"classes": 2},
    verified_with={"categories": [4, 3]},
    workload=Workload(
        "tabular",
        "two layers of 64 units, 16 numbers, 5 898 parameters",
        build=lambda precision: build_tabular([0.0] * 16, [1.0] * 16, precision=precision),
        data=made_up.numbers(16),
        rows=4096,
    ),
)
