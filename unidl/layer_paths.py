"""Names for the layers inside a model that do not depend on what else the process has built."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from unidl.keras_internals import all_layers

if TYPE_CHECKING:
    import keras


def walk(model: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield every layer inside `model` with its path, parents before children; the model's own is "".

    A path joins the names on the way with "/", as in "vgg16/block1_conv1". A name that Keras made up, such as
    "conv2d_7", counts layers over the whole process: it becomes "conv2d#0", "conv2d#1" in the order of the
    parent's layers, which is the same for equal models. A shared layer has the first of its paths.
    """
    yield from _walk(model, "", set())


def named_weights(model: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Return every weight of `model` in Keras's order, by the path of its layer and its own name.

    Equal models have equal names, on every backend; two weights of one name in one layer get a number.
    """
    owners = {id(weight): path for path, layer in walk(model) for weight in layer.weights}
    counts: Counter[str] = Counter()
    named: dict[str, keras.Variable] = {}
    for weight in model.weights:
        name = f"{owners[id(weight)]}/{weight.name}"
        counts[name] += 1
        named[name if counts[name] == 1 else f"{name}:{counts[name]}"] = weight
    return named


def _walk(layer: keras.layers.Layer, path: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    seen.add(id(layer))
    yield path, layer
    counts: Counter[str] = Counter()
    for child in all_layers(layer, include_self=False, recursive=False):
        if id(child) in seen:
            continue
        name, automatic = stem(child)
        number = counts[name]
        counts[name] += 1
        if automatic or number:
            name = f"{name}#{number}"
        yield from _walk(child, f"{path}/{name}" if path else name, seen)


def uncounted(name: str) -> str:
    """Return the name of a weight without the counters that a Bidirectional layer's copies take along from the layer
    that they are copies of: Keras counts those over the whole process."""
    return re.sub(r"(?<=/)((?:forward|backward)_\w*?)_\d+(?=/)", r"\1", name)


def stem(layer: keras.Operation) -> tuple[str, bool]:
    """Return the name of a layer or an operation, without its counter if Keras made it from the class's name; and
    whether it did."""
    stem = re.sub(r"_\d+$", "", layer.name)
    if stem.replace("_", "") == type(layer).__name__.lower():
        return stem, True
    return layer.name, False
