"""A checkpoint is there whole, or the one before it is. Without this a run that was saved for the worst case is lost in
it, by what happened while it was saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from disk import DeathError, Disk
from training import shared_model

from unidl.errors import SavedModelError
from unidl.training.checkpoint import Checkpoints, Position, Tracked


@pytest.fixture
def model(backend):
    return shared_model().afresh().model


def save(folder: Path, model, step: int) -> None:
    """Write the checkpoint of a step; all weights and all of the optimizer's state then have its number."""
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(np.full(variable.shape, step))
    Checkpoints(folder).save(Position(0, step, {}, {}, stopped=False, configuration={}), model, Tracked(model, []))


def step_of(folder: Path) -> int:
    """The step of the newest checkpoint. Fails unless it is whole, the very first tried, and of this step alone."""
    found = Checkpoints(folder).newest()
    assert found is not None
    checkpoint, damaged = found
    assert damaged == []
    state = {name: array for name, array in checkpoint._arrays.items() if name.startswith("optimizers/")}
    assert len(checkpoint._weights) == 4
    assert len(state) >= 10
    for array in (*checkpoint._weights.values(), *state.values()):
        assert (array == checkpoint.position.step).all()
    return checkpoint.position.step


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def called(*steps: int) -> list[str]:
    """The names of the checkpoints of these steps."""
    return [f"epoch-00000-step-{step:07d}" for step in steps]


@pytest.fixture
def begun(model, tmp_path):
    """Makes folders with the checkpoints of some steps, the same each time."""

    def begin(steps: range) -> Path:
        whole = tmp_path / "whole"
        if steps and not whole.exists():
            with Disk().in_use():
                for step in steps:
                    save(whole, model, step)
        folder = tmp_path / f"copy-{len(names(tmp_path))}"
        if steps:
            shutil.copytree(whole, folder)
        return folder

    return begin


SITUATIONS = {
    "the first one": (range(0), 1),
    "one more": (range(1, 2), 2),
    "one more than stay": (range(1, 3), 3),
    "the same once more": (range(1, 3), 2),
}
"""The steps that have been saved, and the one that is saved."""


def calls_of(before: range, step: int) -> dict[str, int]:
    """How often a save changes the disk: 5 files in a new directory, which takes its name, and what is removed then."""
    again = step in before
    made = {"mkdir": 2, "write": 5, "fsync": 5 + 2, "rename": 1 + again}  # mkdir: of the folder, too
    return made | ({"unlink": 5, "rmdir": 1} if again or len(before) == 2 else {})


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize(("before", "step"), SITUATIONS.values(), ids=SITUATIONS)
def test_death_at_any_moment_of_a_save_leaves_the_state_before_or_the_new_one(model, begun, before, step, power):
    """Before and after every write, fsync, rename and removal, and in the midst of every write."""
    old = max(before, default=0)
    found: list[int] = []
    died = True
    while died:
        folder, disk = begun(before), Disk(dies_at=len(found), power=power)
        try:
            with disk.in_use():
                save(folder, model, step)
        except DeathError:
            pass
        died = disk.dead
        found.append(step_of(folder) if Checkpoints(folder).newest() else 0)
        with Disk().in_use():
            save(folder, model, step + 1)
        assert step_of(folder) == step + 1, "what was left behind has stopped the next one"
        kept = sorted({*before, found[-1], step + 1} - {0})[-2:]
        assert names(folder) == called(*kept), "what was left behind is there still"
    assert disk.calls == calls_of(before, step), "something else has changed the disk, unseen"
    assert len(found) == disk.moments + 1 > 25
    assert set(found) == {old, step}
    assert found == sorted(found), "after the new state the one before was found again"


NEEDS = 2 + 5 + 5 + 7
"""The calls of a save that need room: mkdir, open, write, fsync. The last one flushes the new name, which is there."""


@pytest.mark.parametrize(("before", "step"), SITUATIONS.values(), ids=SITUATIONS)
def test_a_disk_that_is_full_from_any_call_on_costs_nothing_but_the_new_one(model, begun, before, step):
    """One clear error, the checkpoints that were there, and nothing that takes up room on the full disk."""
    for number in range(NEEDS):
        folder = begun(before)
        told = rf"^Cannot save to {folder / called(step)[0]}: No space left on device\. The previous save is intact\. F"
        with Disk(full_at=number).in_use(), pytest.raises(SavedModelError, match=told):
            save(folder, model, step)
        there = {*before, step} if number == NEEDS - 1 else {*before}
        assert names(folder) == called(*sorted(there))
        assert not there or step_of(folder) == max(there)
    folder, disk = begun(before), Disk(full_at=NEEDS)
    with disk.in_use():
        save(folder, model, step)
    assert disk.needs == NEEDS


def test_a_run_that_is_begun_anew_clears_away_what_a_killed_one_left(model, begun):
    """A gigabyte, say, of the first checkpoint of all, which was never done; and nothing of somebody else's."""
    folder = begun(range(1, 2))
    (folder / called(1)[0]).rename(folder / f".{called(1)[0]}.unidl-01234567")
    others = [".mine", ".run.unidl-01234567"]  # the second one may be a run that another process saves right now
    for name in others:
        (folder / name).mkdir()
    with Disk().in_use():
        save(folder, model, 1)
    assert names(folder) == [*others, *called(1)]


def damage(content: bytes, drawn: np.random.Generator) -> bytes:
    """Cut off at a random place, or with one to eight bits flipped."""
    if drawn.random() < 0.5:
        return content[: drawn.integers(len(content))]
    damaged = np.frombuffer(content, np.uint8).copy()
    for place in drawn.choice(len(content), size=drawn.integers(1, 9), replace=False):
        damaged[place] ^= 1 << drawn.integers(8)
    return damaged.tobytes()


def test_every_damage_to_the_newest_checkpoint_is_found_and_the_one_before_it_taken(begun):
    """300 times, in each of its files: nothing of it is used, it stays for whoever wants to see it, and is named."""
    drawn, folder = np.random.default_rng(0), begun(range(1, 3))
    newest = folder / called(2)[0]
    files = sorted(newest.iterdir())
    assert [file.name.split(".")[0] for file in files] == ["architecture", "manifest", "progress", "state", "weights"]
    for number in range(300):
        file = files[number % len(files)]
        content = file.read_bytes()
        file.write_bytes(damage(content, drawn))
        found = Checkpoints(folder).newest()
        assert found is not None
        assert found[0].position.step == 1
        assert len(found[1]) == 1
        assert found[1][0].startswith(f"Cannot load {newest}: ")
        [aside] = folder.glob("*.damaged-*")
        aside.rename(newest)
        file.write_bytes(content)
    assert step_of(folder) == 2, "and it would have been taken whole"
