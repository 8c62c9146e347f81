"""The search for a learning rate: fastai's rules, and a model that does not remember it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training import assert_same_weights, dense, points, weights_of

from unidl import Trainer
from unidl.errors import UsageError
from unidl.training.rate_search import RateSearch, suggestion_of


def made(learning_rate=0.02, **options):
    import keras

    return dense(dropout=0.3, optimizer=keras.optimizers.Adam(learning_rate, **options), metrics=["mae"])


def state_of(model):
    return [np.array(variable) for variable in (*model.variables, *model.optimizer.variables, *model.metrics_variables)]


@pytest.mark.parametrize("scheduled", [False, True])
def test_model_and_optimizer_are_afterwards_what_they_were(backend, scheduled):
    """And the next training is that of a model that was never searched."""
    import keras

    def trained(*, searched):
        rate = keras.optimizers.schedules.CosineDecay(0.02, 40) if scheduled else 0.02
        trainer = Trainer(made(rate, use_ema=True))
        options = {"batch_size": 4, "progress": "quiet"}
        trainer.fit(points(22), **options)
        if searched:
            before, given = state_of(trainer.model), trainer.model.optimizer._learning_rate
            found = trainer.find_learning_rate(points(22), batch_size=4)
            for one, other in zip(state_of(trainer.model), before, strict=True):
                np.testing.assert_array_equal(one, other)
            assert trainer.model.optimizer._learning_rate is given
            assert len(set(found.losses)) == len(found.losses) > 50
        trainer.fit(points(22), initial_epoch=1, epochs=2, **options)
        return trainer

    assert_same_weights(weights_of(trained(searched=True).model), weights_of(trained(searched=False).model))


def test_the_rate_rises_from_step_to_step_and_ends_when_the_loss_does(backend):
    """Plain steps downhill on a line: the loss falls, faster and faster, and then it explodes."""
    import keras

    model = dense(optimizer=keras.optimizers.SGD(1.0))
    found = Trainer(model).find_learning_rate(points(64), batch_size=8)
    assert found.rates[0] == pytest.approx(1e-7)
    assert found.rates[1] / found.rates[0] == pytest.approx(1e8 ** (1 / 99))
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 100
    assert found.why == "the loss is more than 4 times its best"
    assert found.smoothed[-1] > 4 * min(found.smoothed)
    assert 1e-4 < found.suggestion < 1
    one = weights_of(model)
    assert_same_weights(one, weights_of(dense()))


def test_the_valley_is_where_the_loss_falls_for_longest():
    """Two thirds of the way into it, as in fastai, which leaves out the first tenth and the last five steps."""
    rates = np.geomspace(1e-7, 10, 100).tolist()
    losses = [1.0] * 40 + np.linspace(1, 0.1, 31).tolist()[1:] + np.linspace(0.2, 5, 30).tolist()
    start, length = 39, 31
    expected = start - 1 + int(length / 3) + int(length / 3 / 2)
    assert abs(rates.index(suggestion_of(rates, losses, 100)) - expected) <= 1
    assert suggestion_of(rates, [float(step) for step in range(100)], 100) is None
    assert suggestion_of(rates[:12], losses[:12], 100) is None


def test_it_is_drawn_and_written(tmp_path):
    pytest.importorskip("matplotlib")
    found = RateSearch([1e-3, 1e-2, 1e-1], [2.0, 1.0, float("nan")], [2.0, 1.5, 3.0], 1e-2, "the loss became nan")
    assert found.plot(tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["losses"] == [2.0, 1.0, None]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lowest": 0}, "lowest=0: it must be a number above 0"),
        ({"lowest": 1, "highest": 0.1}, "the learning rate is to rise"),
        ({"steps": 5}, "steps=5: it must be a whole number of at least 10"),
    ],
)
def test_a_range_that_cannot_be_says_what_can(backend, options, said):
    with pytest.raises(UsageError, match=said):
        Trainer(dense()).find_learning_rate(points(8), **options)
