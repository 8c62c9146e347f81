"""The `Builder` value: everything unidl knows about a kind of model, declared in the model's own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from unidl.errors import ModelError

if TYPE_CHECKING:
    import keras

    from unidl.backend import Batches

Given: TypeAlias = Mapping[str, Any]
"""Arguments of a builder by name, as stored in a record."""

Task = Literal["image classifier", "text classifier", "language model", "classifier", "regression"]
"""What a model learns, and so the data it takes: images with classes; text with classes; text, predicting the next
token; numeric rows with classes; numeric rows with numeric targets."""

FACTS = ("input_shape", "classes", "targets", "features", "vocabulary_size", "sequence_length")
"""Arguments that can be derived from data. features: size of the last axis of x; targets: of the last axis of y."""


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with, where the command line says nothing; the same on every backend.

    data: a name for `load_data`; None if the user must say it. schedule: "constant" or "cosine". learning_rate,
    schedule: None only for a model of somebody's own, which then keeps what it is compiled with.
    """

    data: str | None
    epochs: int
    batch_size: int
    learning_rate: float | None
    schedule: str | None


OWN = Recipe(None, epochs=10, batch_size=32, learning_rate=None, schedule=None)
"""For a user's own model: settings that are None stay as compiled."""


@dataclass(frozen=True)
class Workload:
    """What `unidl compare` trains of a builder, the same in every implementation.

    build: makes the Keras model in a precision. data: makes so many rows. rows: how many an epoch has. batch_size: if
    nobody says. epochs: of a round; None for as many as take the time of a round. round_seconds: about how long such a
    round takes on two CPU cores. frozen_front: whether our loop is measured with `precompute_frozen` as well.
    """

    name: str
    summary: str
    build: Callable[[str], keras.Model]
    data: Callable[[int], Batches]
    rows: int
    batch_size: int = 128
    epochs: int | None = None
    round_seconds: float = 0.0
    frozen_front: bool = False

    def epoch_rows(self, batch_size: int, rows: int | None = None) -> int:
        """Rows of an epoch that whole batches fill, at least 8 of them. rows: about how many, instead of its own."""
        return max(8, (rows or self.rows) // batch_size) * batch_size


@dataclass(frozen=True)
class Reading:
    """How a model of tokens of any length reads. pads: whether padding behind a text changes nothing that is said after
    it, once each step has an output. every_step: the arguments with which the same layers give each step's output; None
    if padding is masked, so that the last output is that of the last token anyway."""

    pads: bool
    every_step: Given | None


@dataclass(frozen=True)
class Builder:
    """A kind of model, as the command line, saving, verification and the comparison know it.

    name: what a person writes, as in `unidl train NAME`, and what a record keeps. build: the public function; it checks
    its arguments, and notes them with `unidl.models.note` as an `Architecture` of this name. task: what is learned.
    from_data: the arguments that come from the data, out of `FACTS`. recipe: of `unidl train`.

    head: the name of the first layer that a model with these arguments has behind its features: a transfer model is cut
    off in front of it. smallest_head: arguments that make what is cut off as small as can be. Both None for a model
    that cannot be a base.

    base: the base where nobody names one, for a builder that stands on a base; None for all others. rebuild: builds
    again from a record, if not by calling `build`. verified_with: arguments of `unidl verify`, where those of `build`
    would not do. reading: how a model with these arguments reads tokens; None if that is not known. workload: of the
    comparison; None if it is not compared.

    Raises `ModelError` for a value that cannot be right.
    """

    name: str
    build: Callable[..., keras.Model]
    task: Task
    from_data: tuple[str, ...]
    recipe: Recipe
    head: Callable[[Given], str] | None = None
    smallest_head: Callable[[Given], Given] | None = None
    base: str | None = None
    rebuild: Callable[[Given], keras.Model] | None = None
    verified_with: Given = field(default_factory=dict[str, Any])
    reading: Callable[[Given], Reading] | None = None
    workload: Workload | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or set(self.name) & set(" /:."):
            raise ModelError(
                f"Cannot use Builder(name={self.name!r}): it must be a non-empty string without spaces, '/', ':' and "
                f"'.'."
            )
        if not callable(self.build):
            raise self._refused("build", self.build, "it must be the function that builds the model")
        if self.task not in get_args(Task):
            raise self._refused("task", self.task, f"it must be one of {', '.join(map(repr, get_args(Task)))}")
        if not isinstance(self.recipe, Recipe):
            raise self._refused("recipe", self.recipe, "it must be a unidl.models.Recipe")
        if self.recipe.learning_rate is None or self.recipe.schedule is None:
            raise self._refused("recipe", self.recipe, "it must set learning_rate and schedule")
        if not isinstance(self.workload, Workload | None):
            raise self._refused("workload", self.workload, "it must be a unidl.models.Workload, or None")
        if (self.head is None) != (self.smallest_head is None):
            raise self._refused("head", self.head, "head and smallest_head must be given together")
        unknown = [name for name in self.from_data if name not in FACTS]
        if unknown:
            raise self._refused("from_data", unknown[0], f"data gives {', '.join(FACTS)}")
        for name in (*self.from_data, *self.verified_with):
            if name not in self.arguments:
                raise self._refused("from_data", name, f"{self.function} has no such argument")

    @property
    def function(self) -> str:
        """Name of the public function, for messages."""
        return getattr(self.build, "__name__", self.name)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `build` in order, with their defaults."""
        return {name: parameter.default for name, parameter in signature(self.build).parameters.items()}

    def takes(self, option: str) -> bool:
        """Whether an option of `unidl train` means something for it."""
        if option == "image_size":
            return self.task == "image classifier"
        if option in ("base", "trust", "weights", "precompute_frozen"):
            return self.base is not None
        return option in self.arguments

    def _refused(self, argument: str, value: Any, because: str) -> ModelError:
        return ModelError(f"Cannot use Builder({self.name!r}, {argument}={value!r}): {because}.")
