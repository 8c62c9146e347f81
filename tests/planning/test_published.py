"""Predicted speeds beside published ones. Without this nobody knows how far a plan may be off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from unidl import registry
from unidl.planning.published import Comparison, comparisons, median_error, published_runs
from unidl.planning.shapes import shapes_only
from unidl.planning.subject import cost_of

registry.current()  # before Keras, which otherwise takes the framework that it likes
import keras  # noqa: E402

MOST = 0.30
"""The largest median error that a plan may have."""
WORST = 1.0
"""The largest error of one prediction. Published runs of one model on one GPU differ by up to 2.5 times (ResNet-50 on
the H100 SXM5), with the framework, the kernels and how images are read."""


def bert(steps: int = 512, vocabulary: int = 30522, width: int = 768, blocks: int = 12) -> keras.Model:
    """BERT base with a classifier: Devlin et al. 2018, "BERT: Pre-training of deep bidirectional transformers"."""
    layers = keras.layers
    tokens = keras.Input((steps,), dtype="int32")
    values = layers.LayerNormalization()(layers.Embedding(vocabulary, width)(tokens))
    for _ in range(blocks):
        attended = layers.MultiHeadAttention(width // 64, 64)(values, values)
        values = layers.LayerNormalization()(layers.Add()([values, attended]))
        inner = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(values))
        values = layers.LayerNormalization()(layers.Add()([values, inner]))
    return keras.Model(tokens, layers.Dense(2)(values[:, 0]))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "ResNet50": lambda: keras.applications.ResNet50(weights=None),
    "BERT base, 512 tokens": bert,
}


@pytest.fixture(scope="module")
def compared() -> tuple[Comparison, ...]:
    costs = {}
    for name, build in MODELS.items():
        with shapes_only():
            model = build()
        costs[name] = cost_of(model)
    return comparisons(costs)


@pytest.mark.once
def test_predictions_are_near_published_speeds(compared):
    for one in compared:
        what = "training" if one.run.training else "inference"
        print(
            f"| {one.run.gpu} | {one.run.model} | {what} | {one.run.precision} | {one.run.batch_size} | "
            f"{one.run.rows_per_second:,.0f} | {one.predicted_rows_per_second:,.0f} | {one.error:+.0%} | "
            f"{one.run.use} |"
        )
    assert len(compared) == len(published_runs())
    assert median_error(compared) < MOST
    assert median_error([one for one in compared if one.run.use == "check"]) < MOST
    assert max(abs(one.error) for one in compared) < WORST


def test_at_least_eight_runs_of_four_sources_were_not_fitted_to():
    checked = [run for run in published_runs() if run.use == "check"]
    assert len(checked) >= 8
    assert len({run.source.split("/")[3:5][-1] if "github" in run.source else run.source for run in checked}) >= 4
    assert {run.model for run in published_runs()} == set(MODELS)
    assert all(run.source.startswith("https://") for run in published_runs())
