"""What several devices would compute otherwise than one is refused by name. Without this a run would quietly train to
other numbers as soon as it has a second device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unidl import layers, registry
from unidl.backend import Batches, Chunk
from unidl.errors import ModelError, UsageError

registry.current()  # before Keras is imported, which would settle the backend by itself

import keras  # noqa: E402

from unidl.scale.exact import ExactLoop  # noqa: E402


class Loop:
    """Counts its steps."""

    steps_per_dispatch, why_not_compiled, follows_values, follows_variables = 8, None, False, False
    steps = 0

    def run(self, chunk: Chunk) -> None:
        self.steps += len(chunk.rows)

    test = run


class OwnStep(keras.Model):
    def train_step(self, *arguments: Any) -> Any:
        return {}


def model(*inner: Any, loss: Any = "sparse_categorical_crossentropy", kind: Any = keras.Sequential) -> Any:
    made = keras.Sequential([keras.Input((4,)), *inner, keras.layers.Dense(3, activation="softmax")])
    made = made if kind is keras.Sequential else kind(made.inputs, made.outputs)
    made.compile(optimizer="sgd", loss=loss)
    return made


def chunk(batch: int, *, partial: bool = False) -> Chunk:
    rows = np.arange(batch, dtype=np.int64)[np.newaxis]
    return Chunk(Batches(np.zeros((batch, 4)), np.zeros(batch)), rows, partial)


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(y_pred)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: model(keras.layers.Dropout(0.5, name="plain")), "the layer 'plain' draws with Keras's generators"),
        (lambda: model(keras.layers.ActivityRegularization(0.1, name="sums")), "'sums' has an activity regularizer"),
        (lambda: model(loss=keras.losses.Dice()), "the loss 'dice'"),
        (lambda: model(loss=own_loss), "the loss 'own_loss'"),
        (lambda: model(loss=keras.losses.SparseCategoricalCrossentropy(reduction="sum")), "reduction='sum'"),
        (
            lambda: model(loss=keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")),
            "reduction='mean_with_sample_weight'",
        ),
        (lambda: model(kind=OwnStep), "the model overrides train_step"),
    ],
)
def test_what_is_not_a_mean_over_rows_is_refused_by_name(make: Any, said: str) -> None:
    loop = Loop()
    exact = ExactLoop(make(), loop, divides_by=None)
    for step in (exact.run, exact.test):
        with pytest.raises(ModelError, match=said):
            step(chunk(4))
    assert loop.steps == 0


def test_an_output_with_a_mask_is_refused() -> None:
    tokens = keras.Input((5,), dtype="int32")
    values = keras.layers.Embedding(9, 3, mask_zero=True)(tokens)
    masked = keras.Model(tokens, keras.layers.LSTM(4, return_sequences=True)(values))
    masked.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ModelError, match="an output has a mask"):
        ExactLoop(masked, Loop(), divides_by=None).run(chunk(4))


def test_why_steps_are_not_compiled_is_a_reason_too() -> None:
    loop = Loop()
    loop.why_not_compiled = "the model was compiled with run_eagerly=True"
    with pytest.raises(ModelError, match="run_eagerly=True"):
        ExactLoop(model(), loop, divides_by=None).run(chunk(4))


def test_a_plain_model_with_dropout_and_normalization_is_trained() -> None:
    loop = Loop()
    plain = model(
        keras.layers.BatchNormalization(), layers.Dropout(0.5), loss=keras.losses.SparseCategoricalCrossentropy()
    )
    ExactLoop(plain, loop, divides_by=2).run(chunk(4))
    assert loop.steps == 1


def test_batches_that_cannot_be_shared_evenly_are_refused_with_the_sizes_that_can() -> None:
    exact = ExactLoop(model(), Loop(), divides_by=4)
    with pytest.raises(UsageError, match="batch_size=8 or 12"):
        exact.run(chunk(10))
    exact.run(chunk(10, partial=True))
