"""The same seed gives the same model, to the bit, on the same backend; without this no result can be repeated."""

from __future__ import annotations

import numpy as np
import pytest
from training import assert_same_weights, dense, differ, pictures, points, sentences, small_cnn, small_lstm, weights_of

from unidl import Trainer, build_transfer

BUILDERS = {
    "cnn": lambda seed: small_cnn(dropout=0.3, seed=seed),
    "lstm": lambda seed: small_lstm(dropout=0.3, seed=seed),
    "transfer": lambda seed: build_transfer(small_cnn(seed=3), None, 4, dense_units=8, dropout=0.3, seed=seed),
}


def values(variables):
    return [np.array(variable.numpy()) for variable in variables]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_seed_gives_the_same_weights(backend, name):
    """An epoch from the same beginning ends with the same bits; a second model of the seed begins the same."""
    model = BUILDERS[name](0)
    assert_same_weights(values(BUILDERS[name](0).variables), values(model.variables))
    data = sentences(12) if name == "lstm" else pictures(12)
    trainer = Trainer(model, optimizer="sgd", metrics=[])
    model.optimizer.build(model.trainable_variables)
    # The positions in the streams of dropout masks are variables as well.
    state = [*model.variables, *model.optimizer.variables]
    start = values(state)

    def trained(seed):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        trainer.seed = seed
        trainer.fit(data, batch_size=4, progress="quiet")
        return values(state)

    once = trained(0)
    assert differ(once, start)
    assert_same_weights(trained(0), once)
    assert differ(trained(1), once)


def test_a_second_model_of_the_seed_ends_the_same(backend):
    """Whatever else the process has built in between."""

    def trained():
        model = dense(dropout=0.5)
        Trainer(model).fit(points(8), batch_size=4, progress="quiet")
        return weights_of(model)

    assert_same_weights(trained(), trained())
