"""Checkpoints: all that a run needs to go on as if it had never stopped, on this backend or on another."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.data.fingerprint import Fingerprint, difference
from unidl.errors import DataError, SavedModelError, UsageError
from unidl.saving.directories import read_directory, sweep, write_directory
from unidl.saving.saved import WEIGHTS, as_array, assign_weights, fits, model_files, read_arrays
from unidl.saving.strict_json import read_json
from unidl.training.callback_states import callback_states, matched_states, require_states, restore_callbacks

if TYPE_CHECKING:
    import keras

PROGRESS = "progress.json"
STATE = "state.safetensors"
NAME = re.compile(r"epoch-(\d{5,})-step-(\d{7,})")
KEEP = 2
"""Checkpoints to keep by default: the newest may turn out to be damaged."""


@dataclass(frozen=True)
class Position:
    """How far a run has come. epoch, step: whole epochs, and steps of the one under way."""

    epoch: int
    step: int
    settings: dict[str, Any]
    """Of `fit`, and the number of rows: what must be the same for the run to go on."""
    history: dict[str, list[Any]]
    stopped: bool
    """Whether a callback has ended the run."""
    configuration: dict[str, Any]
    """What the caller wants to know when it goes on, such as the command line's arguments."""
    data: dict[str, Any] | None = None
    """The fingerprint of the data; None in checkpoints that were written before there was one."""
    stages: dict[str, Any] | None = None
    """Of a training in stages: which one this is, what they are, and what has been done before."""


@dataclass(frozen=True)
class Saving:
    """When a run is saved, and whether it goes on from where another was. every_steps: beside the ends of epochs. data:
    the fingerprint of what it learns from. stages: as in `Position`; such a run is saved before its first step, too."""

    checkpoints: Checkpoints
    every_steps: int | None = None
    resume: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Fingerprint = field(default_factory=Fingerprint)
    stages: Mapping[str, Any] | None = None


class Checkpoints:
    """The checkpoints of one run, each a directory of its own that appears whole or not at all.

    folder: where they are. keep: how many stay, the newest ones.
    """

    def __init__(self, folder: Path, *, keep: int = KEEP) -> None:
        if keep < KEEP:
            raise UsageError(f"Cannot use keep={keep}: at least {KEEP} checkpoints stay, since one may be damaged.")
        self.folder = folder
        self.keep = keep

    def save(self, position: Position, model: keras.Model, tracked: Tracked) -> Path:
        """Write a checkpoint, then remove the oldest ones. Raises `SavedModelError` if it cannot be written."""
        path = self.folder / f"epoch-{position.epoch:05d}-step-{position.step:07d}"
        states, arrays = callback_states(tracked.callbacks)
        files = model_files(model)
        files[STATE] = _packed({**_named(tracked.variables(model)), **arrays})
        files[PROGRESS] = json.dumps({**asdict(position), "callbacks": states}, default=_plain).encode()
        sweep(self.folder, NAME)
        write_directory(path, files)
        for old in self._paths()[self.keep :]:
            shutil.rmtree(old, ignore_errors=True)  # what cannot be removed does no harm
        return path

    def newest(self) -> tuple[Checkpoint, list[str]] | None:
        """The newest checkpoint that is whole, and why newer ones are not; None if there is none at all.

        Raises `SavedModelError` if there are some, and all of them are damaged.
        """
        sweep(self.folder, NAME)
        damaged: list[str] = []
        broken: list[Path] = []
        for path in self._paths():
            try:
                found = _read(path)
                for other in broken:  # out of the way of the run, which will write one of this name again
                    with suppress(FileNotFoundError):  # another process of the run was faster
                        other.rename(other.with_name(f"{other.name}.damaged-{secrets.token_hex(4)}"))
                return found, damaged
            except SavedModelError as error:
                damaged.append(str(error))
                broken.append(path)
        if damaged:
            raise SavedModelError(f"Cannot resume from {self.folder}: no checkpoint is whole.\n" + "\n".join(damaged))
        return None

    def clear(self) -> None:
        """Remove all of them."""
        sweep(self.folder, NAME)
        for path in self._paths():
            shutil.rmtree(path)

    def require_none(self) -> None:
        """Raise `UsageError` if there are some: those of another run would be taken for this one's."""
        if self._paths():
            raise UsageError(
                f"There are checkpoints in {self.folder} already. Pass resume=True to go on from them, remove them, or "
                "choose another folder."
            )

    def _paths(self) -> list[Path]:
        """The newest one first."""
        if not self.folder.is_dir():
            return []
        found = [(NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        known = [((int(match[1]), int(match[2])), path) for match, path in found if match]
        return [path for _, path in sorted(known, reverse=True)]


@dataclass(frozen=True)
class Tracked:
    """What of a run changes beside the weights. model: the one whose loop runs, which may be a part of the whole."""

    model: keras.Model
    callbacks: Sequence[keras.callbacks.Callback]

    def variables(self, model: keras.Model) -> dict[str, Sequence[keras.Variable]]:
        """By what they are for, the variables of `model` that are no weights, the optimizer's, the metrics', and those
        that are not listed, such as the counter of a loss."""
        import keras

        from unidl.model_state import hidden_variables

        weights = {id(weight) for weight in model.weights}
        groups: dict[str, Sequence[keras.Variable]] = {
            "layers": [
                variable
                for variable in {id(one): one for one in (*model.variables, *self.model.variables)}.values()
                if id(variable) not in weights
            ],
            "metrics": self.model.metrics_variables,
        }
        for name, value in sorted(vars(self.model).items()):
            # Beside the one of `compile`, those that a train_step of a model's own uses.
            if isinstance(value, keras.optimizers.Optimizer):
                groups[f"optimizers/{name}"] = value.variables
        listed = {id(variable) for variables in groups.values() for variable in variables}
        groups["hidden"] = [one for one in hidden_variables(self.model) if id(one) not in listed]
        return groups


@dataclass(frozen=True)
class Checkpoint:
    """One that has been read, and compared with its hashes."""

    path: Path
    position: Position
    _weights: Mapping[str, np.ndarray[Any, Any]]
    _arrays: Mapping[str, np.ndarray[Any, Any]]
    _callbacks: Sequence[Any]

    def require_same_run(self, settings: Mapping[str, Any], data: Fingerprint) -> None:
        """Raise `UsageError` for other settings of `fit` than those of then, and `DataError` for other data."""
        for name, value in settings.items():
            if self.position.settings.get(name) != value:
                raise UsageError(
                    f"Cannot resume from {self.path}: {name} was {self.position.settings.get(name)!r} there, and is "
                    f"{value!r} now."
                )
        different = None if self.position.data is None else difference(self.position.data, data)
        if different is not None:
            raise DataError(
                f"Cannot resume from {self.path} with other data: {different}. Pass the same data in the same order; "
                f"or begin a new run, in another folder, with the model that load_model({str(self.path)!r}) gives."
            )

    def assign_weights(self, model: keras.Model) -> None:
        """Give the model its weights, and nothing else."""
        assign_weights(model, self._weights, self.path)

    def restore(self, model: keras.Model, tracked: Tracked) -> None:
        """Give weights, optimizer, metrics and callbacks the state that they had.

        Raises `SavedModelError` if it is that of another model, optimizer or list of callbacks.
        """
        wanted = _named(tracked.variables(model))
        own = {name: array for name, array in self._arrays.items() if not name.startswith("callbacks/")}
        if own.keys() != wanted.keys():
            different = sorted(own.keys() ^ wanted.keys())[0]
            raise SavedModelError(
                f"Cannot resume from {self.path}: it was made with another optimizer, other metrics or other layers "
                f"({different!r} is in only one of both). Compile the model as it was then."
            )
        for name, variable in wanted.items():
            if not fits(own[name], variable):
                raise SavedModelError(
                    f"Cannot resume from {self.path}: {name!r} has the shape {own[name].shape} and type "
                    f"{own[name].dtype} there, and {tuple(variable.shape)} and {variable.dtype} here. Compile the "
                    "model as it was then."
                )
        try:
            matched = matched_states(tracked.callbacks, self._callbacks, self._arrays)
        except UsageError as error:
            raise SavedModelError(f"Cannot resume from {self.path}: {error}") from error
        assign_weights(model, self._weights, self.path)
        for name, variable in wanted.items():
            variable.assign(own[name].astype(variable.dtype) if "float" in variable.dtype else own[name])
        restore_callbacks(matched)


def _read(path: Path) -> Checkpoint:
    files = read_directory(path)  # all of them: a checkpoint is a saved model as well
    for name in (WEIGHTS, STATE, PROGRESS):
        if name not in files:
            raise SavedModelError(f"Cannot resume from {path}: it has no {name}.")
    arrays = read_arrays(files[STATE], STATE, path)
    try:
        # A callback that waits for the least loss begins at infinity.
        found = read_json(files[PROGRESS], infinite=True)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        callbacks = found.pop("callbacks")
        position = Position(**found)
        _require_form(position)
        require_states(callbacks, arrays)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SavedModelError(f"Cannot resume from {path}: its {PROGRESS} is damaged ({error}).") from error
    return Checkpoint(path, position, read_arrays(files[WEIGHTS], WEIGHTS, path), arrays, callbacks)


def _require_form(position: Position) -> None:
    """Raise `ValueError` if a field of a position that was read is no value of its kind."""
    for name in ("epoch", "step"):
        value = getattr(position, name)
        if type(value) is not int or not 0 <= value < 2**53:
            raise ValueError(f"{name!r} is not a whole number of at least 0")
    for name in ("settings", "history", "configuration"):
        if not isinstance(getattr(position, name), dict):
            raise ValueError(f"{name!r} is not an object")
    if not all(isinstance(values, list) for values in position.history.values()):
        raise ValueError("'history' holds something that is not a list")
    if not isinstance(position.stopped, bool):
        raise ValueError("'stopped' is neither true nor false")
    if not isinstance(position.stages, dict | None):
        raise ValueError("'stages' is not an object")
    data = {} if position.data is None else position.data
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise ValueError("'data' is not an object of objects")


def _named(groups: Mapping[str, Sequence[keras.Variable]]) -> dict[str, keras.Variable]:
    """The variables by group and number: Keras makes them in the same order on every backend."""
    named: dict[str, keras.Variable] = {}
    for group, variables in groups.items():
        named |= {f"{group}/{number:05d}": variable for number, variable in enumerate(variables)}
    return named


def _packed(tensors: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    return save({name: as_array(value) for name, value in tensors.items()})


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, which metrics and callbacks hold, as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
