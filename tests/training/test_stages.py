"""Fine-tuning in stages, in one call: each learns what it says, and a killed one goes on in the right stage."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from training import assert_same_weights, dense, differ, pictures, points, small_cnn, weights_of

from unidl import Stage, Trainer, build_transfer, fit_stages
from unidl.errors import ModelError, SavedModelError, UsageError
from unidl.models import base_of
from unidl.training.stage import stages_in
from unidl.training.stages import stage_optimizer

HEAD = Stage(epochs=2, unfreeze="head", learning_rate=0.01)
BLOCK = Stage(epochs=2, unfreeze="conv_2", learning_rate=0.005, schedule="cosine", warmup_epochs=0.5)
ALL = Stage(epochs=2, unfreeze="all", learning_rate=0.002, layer_decay=0.5)
STAGES = [HEAD, BLOCK, ALL]
STEPS = 3
"""Of an epoch."""


class KilledError(Exception):
    """In place of the death of the process."""


def transfer(**options):
    base = small_cnn(batch_normalization=True, seed=3)
    return build_transfer(base, classes=4, dense_units=8, **{"dropout": 0.2, "seed": 5} | options)


def staged(model=None, stages=STAGES, **options):
    options = {"validation": pictures(8, seed=1), "batch_size": 8, "progress": "quiet"} | options
    return fit_stages(transfer() if model is None else model, pictures(22), stages=stages, **options)


def state_of(trainer):
    optimizer = [np.array(variable) for variable in trainer.model.optimizer.variables]
    return weights_of(trainer.model), optimizer, trainer.history


def assert_same_state(found, expected):
    assert_same_weights(found[0], expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[2] == expected[2]


@cache
def never_killed():
    """The state after all stages in one call, which those that died and go on must reach."""
    return state_of(staged())


def named(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def moved(model, before):
    return {path.rpartition("/")[0] for path, weight in named(model).items() if np.abs(weight - before[path]).max() > 0}


def test_each_stage_trains_its_part_and_no_more(backend):
    model = transfer()
    seen = [named(model)]
    parts = []
    for stage in STAGES:
        staged(model, [stage])
        parts.append({name.rpartition("/")[-1] for name in moved(model, seen[-1])})
        seen.append(named(model))
    assert parts == [
        {"dense", "logits"},
        {"conv_2", "dense", "logits"},
        {"conv_1", "conv_2", "dense", "logits"},
    ]


def test_stages_in_one_call_are_those_calls_one_after_the_other(backend, capsys):
    trainer = staged(progress="lines")
    said = capsys.readouterr().out
    assert len(trainer.history["val_loss"]) == len(trainer.history["loss"]) == 6
    assert "stage 2 of 3, epochs 3 to 4: conv_2 and what is behind it learns, " in said
    assert "2 frozen layers of batch normalization in inference mode" in said
    assert "epoch 6/6" in said
    by_hand = transfer()
    for first, stage in zip((0, 2, 4), STAGES, strict=True):
        from unidl.models.freezing import set_free

        set_free(by_hand, stage.unfreeze)
        import keras

        optimizer = stage_optimizer(keras.optimizers.Adam(1e-3), stage, STEPS)
        Trainer(by_hand, optimizer=optimizer, layer_decay=stage.layer_decay).fit(
            pictures(22), batch_size=8, initial_epoch=first, epochs=first + 2, progress="quiet"
        )
    assert_same_weights(weights_of(trainer.model), weights_of(by_hand), tolerance=1e-6)


@pytest.mark.parametrize("step", [7, 12, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 13, 16))])
def test_a_training_that_died_goes_on_in_its_stage(backend, monkeypatch, tmp_path, step):
    """To the bit: in the first stage, in the middle of one, at its first step and in the last one."""
    expected = never_killed()
    killed_after(monkeypatch, step, tmp_path / "c", save_every_steps=2)
    found = staged(checkpoint=tmp_path / "c", save_every_steps=2, resume=True)
    assert_same_state(state_of(found), expected)


def killed_after(monkeypatch, step, folder, **options):
    from unidl.training.interrupt import UninterruptedLoop

    with monkeypatch.context() as patch:
        run, done = UninterruptedLoop.run, [0]

        def until(self, chunk):
            if done[0] + len(chunk.rows) > step:
                raise KilledError
            done[0] += len(chunk.rows)
            return run(self, chunk)

        patch.setattr(UninterruptedLoop, "run", until)
        with pytest.raises(KilledError):
            staged(checkpoint=folder, **options)


def test_a_training_that_is_over_stays_as_it_is_and_can_get_another_stage(backend, tmp_path):
    expected = state_of(staged(restore_best=True))
    staged(stages=STAGES[:2], checkpoint=tmp_path / "c", restore_best=True)
    found = staged(checkpoint=tmp_path / "c", restore_best=True, resume=True)
    assert_same_state(state_of(found), expected)
    again = staged(checkpoint=tmp_path / "c", restore_best=True, resume=True)
    assert_same_weights(state_of(again)[0], expected[0])
    assert again.history == expected[2]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["stage-02", "stage-03"]


def test_a_damaged_stage_is_passed_over(backend, monkeypatch, tmp_path, capsys):
    expected = never_killed()
    killed_after(monkeypatch, 6, tmp_path / "c")
    (found,) = (tmp_path / "c" / "stage-02").iterdir()
    (found / "weights.safetensors").write_bytes(b"nothing")
    result = staged(checkpoint=tmp_path / "c", resume=True, progress="lines")
    assert "passed over" in capsys.readouterr().out
    assert_same_state(state_of(result), expected)
    for path in (tmp_path / "c").glob("*/*/progress.json"):
        path.write_text("{}")
    with pytest.raises(SavedModelError, match="no checkpoint is whole"):
        staged(checkpoint=tmp_path / "c", resume=True)


def test_other_stages_are_another_training(backend, tmp_path):
    staged(stages=STAGES[:2], checkpoint=tmp_path / "c")
    with pytest.raises(UsageError, match=r"learning_rate of stage 2 was 0\.005 there, and is 0\.1 now"):
        staged(stages=[HEAD, Stage(2, "conv_2", 0.1)], checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(UsageError, match="Pass resume=True"):
        staged(stages=STAGES[:2], checkpoint=tmp_path / "c")


def test_the_best_weights_of_all_stages_come_back(backend, capsys):
    """A last stage that ruins the model does not count."""
    ruinous = Stage(epochs=2, unfreeze="all", learning_rate=3.0)
    trainer = staged(stages=[HEAD, ruinous], restore_best=True, progress="lines")
    losses = trainer.history["val_loss"]
    assert min(losses) < losses[-1]
    assert trainer.evaluate(pictures(8, seed=1))["loss"] == pytest.approx(min(losses), rel=1e-4)
    assert "goes back to the weights after epoch" in capsys.readouterr().out


def test_averaged_weights_end_each_stage(backend):
    import keras

    def last_step(**options):
        return weights_of(staged(stages=[HEAD], optimizer=keras.optimizers.Adam(**options)).model)

    plain, averaged = last_step(), last_step(use_ema=True, ema_momentum=0.5)
    assert differ(averaged, plain, tolerance=1e-5)
    with pytest.raises(UsageError, match="SwapEMAWeights"):
        staged(restore_best=True, optimizer=keras.optimizers.Adam(use_ema=True))
    swaps = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
    staged(stages=[HEAD], restore_best=True, optimizer=keras.optimizers.Adam(use_ema=True), callbacks=swaps)


def test_a_stage_ends_early_and_the_next_one_goes_on_from_there(backend):
    stages = [Stage(5, "head", learning_rate=1.0, early_stopping=1), Stage(1, "all", learning_rate=1e-4)]
    trainer = staged(stages=stages)
    assert 3 <= len(trainer.history["loss"]) < 6


def test_batch_normalization_of_the_base_keeps_its_statistics(backend):
    model = transfer()
    before = named(model)
    staged(model)
    kept = [path for path in before if "moving" in path]
    assert kept
    for path in kept:
        np.testing.assert_array_equal(named(model)[path], before[path])


def test_a_model_without_a_base_is_set_free_by_the_names_of_its_layers(backend):
    model = dense()
    fit_stages(model, points(12), stages=[Stage(1, "last")], progress="quiet")
    assert not model.get_layer("first").trainable
    assert_same_weights(weights_of(model)[:2], weights_of(dense())[:2])
    fit_stages(model, points(12), stages="all:1@0.01", progress="quiet")
    assert differ(weights_of(model)[:1], weights_of(dense())[:1])
    with pytest.raises(ModelError, match="0 of its layers are models"):
        fit_stages(model, points(12), stages="head:1", progress="quiet")
    with pytest.raises(ModelError, match=r"no layer of that name.*'first'"):
        fit_stages(model, points(12), stages="frist:1", progress="quiet")


@pytest.mark.parametrize("part", ["conf_2", "head"])
def test_a_part_that_is_not_there_is_told_before_the_first_stage(backend, part):
    """And not when hours of the stages before it are over."""
    model = transfer() if part != "head" else dense()
    before = weights_of(model)
    with pytest.raises(ModelError, match=r"Available: |0 of its layers are models"):
        fit_stages(model, pictures(8) if part != "head" else points(8), stages=f"all:1,{part}:1", progress="quiet")
    assert_same_weights(weights_of(model), before)


@pytest.mark.parametrize("size", [0, "32", 2.5])
def test_batches_have_a_whole_number_of_rows(size):
    with pytest.raises(UsageError, match="batch_size="):
        staged(batch_size=size)


def test_the_learning_rate_rises_and_falls():
    import keras

    optimizer = stage_optimizer(keras.optimizers.AdamW(1.0, weight_decay=0.1), BLOCK, 10)
    rates = [float(optimizer._learning_rate(step)) for step in range(20)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[5] == max(rates) == pytest.approx(0.005)
    assert rates[19] < 1e-4
    assert optimizer.weight_decay == 0.1
    steady = stage_optimizer(keras.optimizers.SGD(1.0), Stage(2, learning_rate=0.5, warmup_epochs=1), 4)
    assert [float(steady._learning_rate(step)) for step in (4, 7)] == pytest.approx([0.5, 0.5])


def test_what_a_run_keeps_says_its_stages(backend, tmp_path):
    trainer = staged(stages=STAGES[:2])
    trainer.save(tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [stage["unfreeze"] for stage in run["stages"]] == ["head", "conv_2"]
    lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3", "4"]


def test_a_text_says_stages():
    assert stages_in("head:3, block5:5@1e-4,all:5@1e-5*0.9~0.5") == [
        Stage(3, "head"),
        Stage(5, "block5", learning_rate=1e-4),
        Stage(5, "all", learning_rate=1e-5, layer_decay=0.9, warmup_epochs=0.5),
    ]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: stages_in("head"), "Cannot read the stage 'head': it must be PART:EPOCHS"),
        (lambda: stages_in("head:3,"), "Cannot read the stage ''"),
        (lambda: stages_in("head:0"), "epochs=0"),
        (lambda: stages_in("head:3@0"), "learning_rate=0.0: it must be a number above 0"),
        (lambda: stages_in("head:3@1e-3~3"), "warmup_epochs=3.0: .* up to the 3 epochs"),
        (lambda: Stage(3, schedule="cosine"), "without learning_rate="),
        (lambda: Stage(3, unfreeze=5), "unfreeze=5: it must be 'head', 'all'"),
        (lambda: Stage(3, layer_decay=2), "layer_decay=2"),
        (lambda: Stage(3, learning_rate=1.0, schedule="linear"), "Allowed: 'constant', 'cosine'"),
    ],
)
def test_a_stage_that_cannot_be_says_what_can(made, said):
    with pytest.raises(UsageError, match=said):
        made()


def test_stages_are_asked_for(backend):
    for stages in ([], [3], None, {"head": 3}):
        with pytest.raises(UsageError, match=r"must be a list of unidl\.training\.Stage"):
            staged(stages=stages)
    assert base_of(transfer()).trainable is False
