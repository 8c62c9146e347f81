"""The checkpoints of a training in stages: a folder for each stage, of which the last two stay."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from unidl.errors import SavedModelError, UsageError
from unidl.training.checkpoint import Checkpoint, Checkpoints
from unidl.training.stage import Stage

NAME = re.compile(r"stage-(\d{2,})")
KEPT_STAGES = 2
"""Folders that stay: the first checkpoint of a stage may turn out to be damaged."""


class StageFolders:
    """Those of one training. keep: how many checkpoints of a stage stay."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def of(self, number: int) -> Checkpoints:
        """The checkpoints of a stage, counted from 0."""
        return Checkpoints(self.folder / f"stage-{number + 1:02d}", keep=self._keep)

    def newest(self) -> tuple[int, Checkpoint, list[str]] | None:
        """Return the number of the last stage that has begun, its newest checkpoint that is whole, and what was passed
        over; None if there is none. Raises `SavedModelError` if there are some and all are damaged."""
        passed: list[str] = []
        broken: list[Path] = []
        for number in reversed(self._numbers()):
            try:
                found = self.of(number).newest()
            except SavedModelError as error:
                passed.append(str(error))
                broken.append(self.of(number).folder)
                continue
            if found is not None:
                for folder in broken:  # out of the way of the stage, which begins anew there
                    folder.rename(folder.with_name(f"{folder.name}.damaged-{secrets.token_hex(4)}"))
                return number, found[0], [*passed, *found[1]]
        if passed:
            raise SavedModelError(f"Cannot resume from {self.folder}: no checkpoint is whole.\n" + "\n".join(passed))
        return None

    def require_none(self) -> None:
        """Raise `UsageError` if there are checkpoints of another training."""
        for number in self._numbers():
            self.of(number).require_none()

    def clear(self) -> None:
        """Remove all of them."""
        for number in self._numbers():
            self._remove(number)

    def forget_before(self, number: int) -> None:
        """Remove the checkpoints of stages that are long over."""
        if number >= KEPT_STAGES:
            self._remove(number - KEPT_STAGES)

    def _remove(self, number: int) -> None:
        checkpoints = self.of(number)
        checkpoints.clear()
        with suppress(OSError):  # something else is in it, or it is not there
            checkpoints.folder.rmdir()

    def _numbers(self) -> list[int]:
        """The stages that have a folder, in order."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(match[1]) - 1 for name in names if (match := NAME.fullmatch(name)))


def require_same_stages(checkpoint: Checkpoint, number: int, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return what a checkpoint says of the stages before. Raises `UsageError` for other stages than those of then, up
    to the one that it is of; later ones may be others."""
    said = checkpoint.position.stages
    if number >= len(stages):
        raise UsageError(
            f"Cannot resume from {checkpoint.path}: it is of stage {number + 1}, and there are {len(stages)} now."
        )
    if said is None or not isinstance(said.get("of"), list) or said.get("number") != number:
        raise UsageError(f"Cannot resume from {checkpoint.path}: it is not one of a training in stages.")
    for place, (then, now) in enumerate(zip(said["of"], stages[: number + 1], strict=False)):
        for name, value in now.to_json().items():
            if then.get(name) != value:
                raise UsageError(
                    f"Cannot resume from {checkpoint.path}: {name} of stage {place + 1} was {then.get(name)!r} there, "
                    f"and is {value!r} now."
                )
    return said
