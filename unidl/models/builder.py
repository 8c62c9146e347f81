"""What a builder is beside its function: one value that everything else reads, declared in the model's own file."""

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
"""Arguments of a builder by name, as a record keeps them."""

Task = Literal["image classifier", "text classifier", "language model", "classifier", "regression"]
"""What a model learns, and so what data it takes: images with classes; text with classes; text, whose next token is
learned; rows of numbers with classes; rows of numbers with numbers."""

FACTS = ("input_shape", "classes", "targets", "features", "vocabulary_size", "sequence_length")
"""The arguments that data can give. features: the last axis of a row; targets: that of what is predicted."""


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with, where the command line says nothing; the same on every backend.

    Args:
        data: A name for `load_data`; None if the user must say it.
        epochs: How many epochs to train.
        batch_size: Rows of a batch.
        learning_rate: The learning rate of the optimizer at the start; None only for a model of your own, which then
            keeps what it is compiled with.
        schedule: "constant" or "cosine"; None only for a model of your own.

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
"""For a model of somebody's own: what is None stays as it is compiled."""


@dataclass(frozen=True)
class Workload:
    """What `unidl compare` trains of a builder, the same in every implementation.

    Args:
        name: The name in `unidl compare --models`.
        summary: What it is, in one line, for the report.
        build: Makes the Keras model in a precision, which it is given by name.
        data: Makes so many rows.
        rows: How many rows an epoch has.
        batch_size: Rows of a batch, if the user does not say.
        epochs: The epochs of a round; None for as many as take the time of a round.
        round_seconds: About how long such a round takes on two CPU cores.
        frozen_front: Whether our loop is measured with `precompute_frozen` as well.

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
        """Return the rows of an epoch that whole batches fill, at least 8 of them.

        Args:
            batch_size: Rows of a batch.
            rows: About how many rows to take, instead of the workload's own.

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
    """How a model of tokens of any length reads.

    Args:
        pads: Whether padding behind a text changes nothing that is said after it, once each step has an output.
        every_step: The arguments with which the same layers give each step's output; None if padding is masked, so that
            the last output is that of the last token anyway.

    Examples:
        >>> from unidl.models import builders
        >>> builders.builder("lstm").reading({"bidirectional": True}).pads
        False
    """

    pads: bool
    every_step: Given | None


@dataclass(frozen=True)
class Builder:
    """A kind of model, as the command line, saving, verification and the comparison know it.

    Args:
        name: What a person writes, as in `unidl train NAME`, and what a record keeps.
        build: The public function; it checks its arguments, and notes them with `unidl.models.note` as an
            `Architecture` of this name.
        task: What is learned: "image classifier", "text classifier", "language model", "classifier" or "regression".
        from_data: The arguments that come from the data, out of "input_shape", "classes", "targets", "features",
            "vocabulary_size" and "sequence_length".
        recipe: The recipe of `unidl train`.
        head: Gives the name of the first layer that a model with these arguments has behind its features: a transfer
            model is cut off in front of it. `head` and `smallest_head` are None for a model that cannot be a base.
        smallest_head: Gives the arguments that make what is cut off as small as can be.
        base: The base where the user names none, for a builder that stands on a base; None for all others.
        rebuild: Builds again from a record, if not by calling `build`.
        verified_with: Arguments of `unidl verify`, where those of `build` would not do.
        reading: Tells how a model with these arguments reads tokens; None if that is not known.
        workload: The workload of the comparison; None if it is not compared.

    Raises:
        ModelError: If a value cannot be right.

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
                f"Cannot use Builder(name={self.name!r}): it must be a word without spaces and '/', ':', '.'."
            )
        if not callable(self.build):
            raise self._refused("build", self.build, "it must be the function that builds the model")
        if self.task not in get_args(Task):
            raise self._refused("task", self.task, f"it must be one of {', '.join(map(repr, get_args(Task)))}")
        if not isinstance(self.recipe, Recipe):
            raise self._refused("recipe", self.recipe, "it must be a unidl.models.Recipe")
        if self.recipe.learning_rate is None or self.recipe.schedule is None:
            raise self._refused("recipe", self.recipe, "it must say a learning rate and a schedule")
        if not isinstance(self.workload, Workload | None):
            raise self._refused("workload", self.workload, "it must be a unidl.models.Workload, or None")
        if (self.head is None) != (self.smallest_head is None):
            raise self._refused("head", self.head, "head and smallest_head go together; say both, or none")
        unknown = [name for name in self.from_data if name not in FACTS]
        if unknown:
            raise self._refused("from_data", unknown[0], f"data gives {', '.join(FACTS)}")
        for name in (*self.from_data, *self.verified_with):
            if name not in self.arguments:
                raise self._refused("from_data", name, f"{self.function} has no such argument")

    @property
    def function(self) -> str:
        """The name of the public function, for messages."""
        return getattr(self.build, "__name__", self.name)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `build` with their defaults, in order."""
        return {name: parameter.default for name, parameter in signature(self.build).parameters.items()}

    def takes(self, option: str) -> bool:
        """Tell whether an option of `unidl train` means something for this builder.

        Args:
            option: The name of the option, as an argument in Python.

        Returns:
            True if it does.
        """
        if option == "image_size":
            return self.task == "image classifier"
        if option in ("base", "trust", "weights", "precompute_frozen"):
            return self.base is not None
        return option in self.arguments

    def _refused(self, argument: str, value: Any, because: str) -> ModelError:
        return ModelError(f"Cannot use Builder({self.name!r}, {argument}={value!r}): {because}.")
