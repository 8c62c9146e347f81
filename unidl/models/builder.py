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

Task = Literal["image classifier", "text classifier", "language model", "classifier", "regression", "table"]
"""What a model learns, and so the data it takes: images with classes; text with classes; text, predicting the next
token; numeric rows with classes; numeric rows with numeric targets; a table of numbers and categories with either."""

FACTS_OF_TABLES = ("means", "deviations", "categories", "target_mean", "target_deviation")
FACTS = ("input_shape", "classes", "targets", "features", "vocabulary_size", "sequence_length", *FACTS_OF_TABLES)
"""Arguments that can be derived from data. features: size of the last axis of x; targets: of the last axis of y; those
of tables: as in `unidl.build_tabular`."""


@dataclass(frozen=True)
class Recipe:
    """The default training settings of `unidl train`; the same on every backend.

    Args:
        data: A name for `load_data`; None if the user must pass one.
        epochs: Number of epochs.
        batch_size: Rows per batch.
        learning_rate: The learning rate of the optimizer at the start; None only for a user's own model, which then
            keeps its compiled optimizer.
        schedule: "constant" or "cosine"; None only for a user's own model.

    Examples:
        >>> from unidl.models import Recipe
        >>> Recipe("digits", epochs=10, batch_size=64, learning_rate=3e-3, schedule="cosine").epochs
        10
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
    """The model and data with which `unidl compare` measures a builder, the same in every implementation.

    Args:
        name: The name in `unidl compare --models`.
        summary: What it is, in one line, for the report.
        build: Returns the Keras model for a precision, given by name.
        data: Returns a given number of rows.
        rows: Rows per epoch.
        batch_size: Rows per batch, by default.
        epochs: Epochs per round; None for as many as fill the duration of a round.
        round_seconds: Approximate duration of such a round on two CPU cores, in seconds.
        frozen_front: Whether unidl's loop is also measured with `precompute_frozen`.

    Examples:
        >>> from unidl.models import builders
        >>> workload = builders.builder("cnn").workload
        >>> workload.rows, workload.data(2).x.shape
        (4096, (2, 28, 28, 1))
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
        """Return the rows per epoch, a multiple of the batch size and at least 8 batches.

        Args:
            batch_size: Rows per batch.
            rows: Approximate number of rows, instead of the workload's own.

        Returns:
            A multiple of `batch_size`.

        Examples:
            >>> from unidl.models import builders
            >>> builders.builder("cnn").workload.epoch_rows(batch_size=100)
            4000
        """
        return max(8, (rows or self.rows) // batch_size) * batch_size


@dataclass(frozen=True)
class Reading:
    """How a token model of variable length handles padding.

    Args:
        pads: Whether padding at the end of a text leaves the outputs of earlier steps unchanged, given one output per
            step.
        every_step: The arguments with which the same layers return the output of every step; None if padding is masked,
            in which case the last output is that of the last token.

    Examples:
        >>> from unidl.models import builders
        >>> builders.builder("lstm").reading({"bidirectional": True}).pads
        False
    """

    pads: bool
    every_step: Given | None


@dataclass(frozen=True)
class Builder:
    """A kind of model, as used by the command line, saving, verification and the comparison.

    Args:
        name: The name in `unidl train NAME` and in the record of a model.
        build: The public function; it validates its arguments and records them with `unidl.models.note` as an
            `Architecture` of this name.
        task: What is learned: "image classifier", "text classifier", "language model", "classifier", "regression" or
            "table".
        from_data: The arguments derived from the data, a subset of "input_shape", "classes", "targets", "features",
            "vocabulary_size" and "sequence_length"; of tables also "means", "deviations", "categories", "target_mean"
            and "target_deviation".
        recipe: The defaults of `unidl train`.
        head: Returns, for given arguments, the name of the first layer after the features: a transfer model removes it
            and all later layers. `head` and `smallest_head` are None for a model that cannot be a base.
        smallest_head: Returns arguments that make the removed layers as small as possible.
        base: The default base, for a builder that needs one; else None.
        rebuild: Builds from a record, if calling `build` is not enough.
        verified_with: Arguments for `unidl verify`, where the defaults of `build` do not fit.
        reading: Returns how a model with given arguments handles padding; None if unknown.
        workload: The workload of the comparison; None if it is not compared.

    Raises:
        ModelError: If a value is invalid.

    Examples:
        >>> import unidl
        >>> from unidl.models import Builder, Recipe
        >>> recipe = Recipe("digits", epochs=1, batch_size=32, learning_rate=1e-3, schedule="constant")
        >>> small = Builder("small", unidl.build_cnn, "image classifier", ("input_shape", "classes"), recipe)
        >>> small.function, small.takes("dropout"), small.takes("cell")
        ('build_cnn', True, False)
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
        """Return whether an option of `unidl train` applies to this builder.

        Args:
            option: The name of the option, as an argument in Python.

        Returns:
            True if it does.
        """
        if option in ("image_size", "mixup", "cutmix"):
            return self.task == "image classifier"
        if option in ("base", "trust", "weights", "precompute_frozen", "feature_variants"):
            return self.base is not None
        return option in self.arguments

    def _refused(self, argument: str, value: Any, because: str) -> ModelError:
        return ModelError(f"Cannot use Builder({self.name!r}, {argument}={value!r}): {because}.")
